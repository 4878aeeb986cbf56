from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolabel_kit.data.divide import Budget, By, Shares, absent, divide, inexact
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Row, Split

TRAINING = ("labelled", "unlabelled")


def asked(
    labelled: str | None = None, val: float = 0.15, test: float = 0.2, by: By = "patient"
) -> Shares:
    budget = None if labelled is None else Budget.parse(labelled)
    return Shares(val=val, test=test, labelled=budget, by=by)


def broad(split: Split) -> str:
    return "train" if split in TRAINING else split


def counting(rows: list[Row], splits: list[Split]) -> list[int]:
    """The training rows that a budget counts; all have a label."""
    training = [i for i, split in enumerate(splits) if split in TRAINING]
    masked = {rows[i].label for i in training if rows[i].has_mask}
    return [i for i in training if rows[i].has_mask or rows[i].label not in masked]


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[list[Row], list[bool]]:
    """Patients of one to six images, some images without one, all with a label or a mask."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=3, max_size=30))
    loose = draw(st.integers(0, 5))
    owners = [*(f"p{p}" for p, size in enumerate(sizes) for _ in range(size)), *[None] * loose]
    rows, lesions = [], []
    for i, owner in enumerate(owners):
        label, masked = draw(st.integers(0, 2)), draw(st.booleans())
        rows.append(Row(name=f"r{i}", label=label, patient=owner, has_mask=masked))
        lesions.append(masked and label > 0)
    return rows, lesions


shares = st.floats(0, 0.45)


@given(cohorts(), shares, shares, st.floats(0.01, 1), st.integers(0, 9))
@settings(max_examples=150)
def test_patients_are_whole_and_every_amount_is_met_within_one(
    cohort: tuple[list[Row], list[bool]], val: float, test: float, share: float, seed: int
) -> None:
    rows, lesions = cohort
    request = asked(f"{share:.3f}", val, test)
    splits = divide(rows, request, seed, lesions)
    assert splits == divide(rows, request, seed, lesions)
    sides: dict[str, set[str]] = {}
    for row, split in zip(rows, splits, strict=True):
        if row.patient:
            sides.setdefault(row.patient, set()).add(split)
    assert all(len(found) == 1 for found in sides.values())
    largest = max(Counter(row.patient for row in rows if row.patient).values())
    count, counted = Counter(splits), counting(rows, splits)
    kept = {
        (r.label, r.patient or r.name) for r, s in zip(rows, splits, strict=True) if s in TRAINING
    }
    spare = Counter(label for label, _ in kept)
    assert spare.keys() == {row.label for row in rows}
    missed = [test * len(rows) - count["test"], val * len(rows) - count["val"]]
    assert min(missed) >= -2 * largest  # val is drawn of what test has left
    if min(spare.values()) > 1:  # else one that would be drawn stays to be trained on
        assert abs(missed[0]) <= largest
        assert abs(missed[1]) <= 2 * largest
    labelled = sum(splits[i] == "labelled" for i in counted)
    assert abs(labelled - round(share, 3) * len(counted)) <= largest


@given(cohorts(), st.integers(0, 9), st.data())
def test_counts_of_patients_and_of_single_images_are_exact(
    cohort: tuple[list[Row], list[bool]], seed: int, data: st.DataObject
) -> None:
    rows, lesions = cohort
    training = counting(rows, divide(rows, asked(), seed, lesions))
    if not training:
        return
    wanted = data.draw(st.integers(1, len(training)))
    splits = divide(rows, asked(f"{wanted}images", by="image"), seed, lesions)
    assert splits.count("labelled") == wanted
    sides: dict[str, set[str]] = {}
    for row, split in zip(rows, splits, strict=True):
        sides.setdefault(row.patient or row.name, set()).add(broad(split))
    assert all(len(found) == 1 for found in sides.values())
    owners = {rows[i].patient or i for i in training}
    wanted = data.draw(st.integers(1, len(owners)))
    splits = divide(rows, asked(f"{wanted}patients"), seed, lesions)
    chosen = {rows[i].patient or i for i in training if splits[i] == "labelled"}
    assert len(chosen) == wanted


@given(cohorts(), st.floats(0.05, 0.5), st.integers(0, 9))
def test_every_stratum_gives_its_share_within_one_group(
    cohort: tuple[list[Row], list[bool]], test: float, seed: int
) -> None:
    """Images by themselves: class, mask and lesion are then known of each group."""
    rows = [Row(name=r.name, label=r.label, has_mask=r.has_mask) for r in cohort[0]]
    lesions = cohort[1]
    splits = divide(rows, asked(val=0, test=test), seed, lesions)
    if splits.count("test") <= 1:  # one at least is drawn, also where none is due
        return
    kinds = [(row.label, row.has_mask, lesion) for row, lesion in zip(rows, lesions, strict=True)]
    drawn = Counter(kind for kind, split in zip(kinds, splits, strict=True) if split == "test")
    for kind, count in Counter(kinds).items():
        assert abs(drawn[kind] - test * count) <= 1 + 1e-9


def test_lesions_stratify() -> None:
    rows = [Row(name=str(i), label=0, has_mask=True) for i in range(100)]
    lesions = [i < 20 for i in range(100)]
    for seed in range(5):
        splits = divide(rows, asked("0.5", val=0.1, test=0.2), seed, lesions)
        shown = [splits[:20].count(s) for s in ("labelled", "unlabelled", "val", "test")]
        assert shown == [7, 7, 2, 4]


def test_the_only_patient_of_a_class_is_trained_on() -> None:
    rows = [Row(name=str(i), label=i // 2 % 2, patient=f"p{i // 2}") for i in range(40)]
    rows += [Row(name="rare", label=2, patient="p99"), Row(name="mask", has_mask=True)]
    for seed in range(20):
        splits = divide(rows, asked(test=0.5, val=0.4), seed)
        assert {splits[-1], splits[-2]} == {"labelled"}
        assert {"val", "test"} <= set(splits)
    assert absent(rows, splits, ("a", "b", "c")) == [
        "class 'c' has 1 patient, none of them in val and test"
    ]
    assert divide(rows[-2:], asked(test=0.9, val=0), 0) == ["labelled"] * 2


@given(cohorts(), st.lists(st.sets(st.integers(0, 20)), max_size=4), st.integers(0, 9))
def test_copies_stay_on_one_side(
    cohort: tuple[list[Row], list[bool]], found: list[set[int]], seed: int
) -> None:
    rows, lesions = cohort
    copies = [group for each in found if (group := tuple(sorted(i for i in each if i < len(rows))))]
    splits = divide(rows, asked(), seed, lesions, copies)
    for group in copies:
        whole = {rows[i].patient for i in group} - {None}
        members = {i for i, row in enumerate(rows) if row.patient in whole} | set(group)
        assert len({broad(splits[i]) for i in members}) == 1
    alone = [(i,) for i in range(len(rows))]
    assert divide(rows, asked(), seed, lesions, alone) == divide(rows, asked(), seed, lesions)


def test_seeds_draw_other_patients_and_named_splits_are_not_read() -> None:
    rows = [Row(name=str(i), label=i % 2, patient=f"p{i // 2}") for i in range(60)]
    named = [Row(name=r.name, label=r.label, patient=r.patient, split="test") for r in rows]
    assert divide(rows, asked(), 0) == divide(named, asked(), 0)
    assert len({tuple(divide(rows, asked(), seed)) for seed in range(5)}) == 5


def test_rows_without_mask_and_label_are_never_labelled() -> None:
    rows = [Row(name=str(i), label=0 if i < 10 else None, patient=f"p{i}") for i in range(40)]
    splits = divide(rows, asked(val=0, test=0), 0)
    assert splits == ["labelled"] * 10 + ["unlabelled"] * 30
    with pytest.raises(ConfigError, match="asks for 11 images: 10 of the training side have"):
        divide(rows, asked("11images", val=0, test=0), 0)
    with pytest.raises(ConfigError, match="asks for 11 patients: 10 of"):
        divide(rows, asked("11patients", val=0, test=0), 0)
    assert divide(rows, asked("10images", val=0, test=0), 0) == splits


def test_classes_alone_are_not_counted_beside_masks() -> None:
    """As in an archive of twenty patients who have a class, and six who have a mask too."""
    rows = [Row(name=str(i), label=i % 2, patient=f"p{i}", has_mask=i < 6) for i in range(26)]
    for wanted in ("0.5", "3images", "3patients"):
        request = asked(wanted, val=0, test=0)
        splits = divide(rows, request, 0)
        assert splits[:6].count("labelled") == 3
        assert splits[6:] == ["unlabelled"] * 20
        assert inexact(rows, splits, request) == []
    with pytest.raises(ConfigError, match="7 images: 6 of the training side have a mask, or"):
        divide(rows, asked("7images", val=0, test=0), 0)
    assert divide(rows, asked(val=0, test=0), 0) == ["labelled"] * 26


def test_who_gets_labels_gets_all_of_them_but_by_image() -> None:
    rows = [Row(name=str(i), label=0, patient=f"p{i // 5}", has_mask=i % 5 == 0) for i in range(50)]
    splits = divide(rows, asked("2images", val=0, test=0), 0)
    assert splits.count("labelled") == 10
    splits = divide(rows, asked("2images", val=0, test=0, by="image"), 0)
    assert splits.count("labelled") == splits[::5].count("labelled") == 2


def test_a_budget_that_whole_patients_miss_is_told() -> None:
    rows = [Row(name=str(i), label=0, patient=f"p{i // 10}") for i in range(100)]
    request = asked("13images", val=0.1, test=0.2)
    splits = divide(rows, request, 0)
    assert inexact(rows, splits, request) == ["labelled: 10 images where 13 were asked for"]
    request = asked("13images", val=0.1, test=0.2, by="image")
    assert inexact(rows, divide(rows, request, 0), request) == []


def test_patients_who_are_bound_by_copies_are_counted_one_by_one() -> None:
    """Forty patients, of whom ten share copies with one other each."""
    rows = [Row(name=str(i), label=0, patient=f"p{i}") for i in range(40)]
    copies = [(i, i + 1) for i in range(0, 10, 2)]
    for seed in range(5):
        for wanted in (1, 2, 6, 13, 26):
            request = asked(f"{wanted}patients")
            splits = divide(rows, request, seed, copies=copies)
            missed = abs(splits.count("labelled") - wanted)
            assert missed <= 1, "less than the largest group"
            told = f"labelled: {splits.count('labelled')} patients where {wanted} were asked for"
            assert (told in inexact(rows, splits, request)) == bool(missed)


def test_patients_who_cannot_be_counted_out_are_told() -> None:
    rows = [Row(name=str(i), label=0, patient=f"p{i}") for i in range(10)]
    request = asked("3patients", val=0, test=0)
    splits = divide(rows, request, 0, copies=[tuple(range(10))])
    assert set(splits) == {"labelled"}
    assert inexact(rows, splits, request) == ["labelled: 10 patients where 3 were asked for"]
    with pytest.raises(ConfigError, match=r"asks for 11 patients: 10 of .*; .*--copies ignore"):
        divide(rows, asked("11patients", val=0, test=0), 0, copies=[(0, 1)])


def test_patients_cannot_be_counted_where_none_is_known() -> None:
    rows = [Row(name=str(i), label=0) for i in range(10)]
    with pytest.raises(ConfigError, match="3 patients: no patient is known"):
        divide(rows, asked("3patients"), 0)


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("5patients", 5, "patients"),
        ("1 patient", 1, "patients"),
        (" 200 images ", 200, "images"),
        ("0.25", 0.25, "share"),
        (".5", 0.5, "share"),
        ("1", 1, "share"),
    ],
)
def test_budgets_are_read(text: str, amount: float, unit: str) -> None:
    budget = Budget.parse(text)
    assert (budget.amount, budget.unit) == (amount, unit)


@pytest.mark.parametrize("text", ["", "5", "1.5", "-1", "nan", "5 people", "patients", "1e-1", "٣"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected 12patients, 200images, or a share"):
        Budget.parse(text)


@pytest.mark.parametrize("text", ["0", "0.0", "0images", "0 patients"])
def test_no_labels_at_all_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected more than 0"):
        Budget.parse(text)


@pytest.mark.parametrize(
    ("val", "test", "said"),
    [
        (-0.1, 0.2, "--val -0.1"),
        (0.1, 1.0, "--test 1: expected a share"),
        (float("nan"), 0.1, "--val nan"),
        (0.5, 0.5, "leave nothing to train on"),
    ],
)
def test_shares_that_leave_nothing_are_refused(val: float, test: float, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        asked(val=val, test=test)


def test_whole_patients_are_no_budget_of_images() -> None:
    with pytest.raises(ConfigError, match="--by image: expected --labelled in images"):
        asked("3patients", by="image")
