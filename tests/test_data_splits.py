from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.data.splits import Splits, annotated, assign, draw, hold_out, patients
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.interfaces import Row, Split


def row(name: str, **known: object) -> Row:
    return Row(name=name, **known)  # type: ignore[arg-type]


def cohort(patients: int = 30, slices: int = 4, split: Split | None = None) -> list[Row]:
    return [
        row(f"{p}-{s}", label=p % 3, patient=f"p{p}", has_mask=True, split=split)
        for p in range(patients)
        for s in range(slices)
    ]


def sides(splits: Splits) -> list[tuple[int, ...]]:
    return [splits.labelled, splits.unlabelled, splits.val, splits.test]


rows = st.lists(
    st.tuples(st.sampled_from([None, "a", "b", "c", "d"]), st.sampled_from([None, 0, 1, 2])),
    min_size=1,
    max_size=40,
).map(
    lambda known: [
        row(f"r{i}", patient=patient, label=label, has_mask=i % 3 == 0)
        for i, (patient, label) in enumerate(known)
    ]
)
fractions = st.floats(0, 1)


@given(rows, fractions, fractions, st.none() | fractions, st.integers(0, 9))
@settings(max_examples=100)
def test_sides_are_disjoint_and_whole(
    rows: list[Row], val: float, test: float, labelled: float | None, seed: int
) -> None:
    config = DataConfig(val=val, test=test, labelled=labelled)
    try:
        splits = assign(rows, config, seed)
    except DataError:  # nothing is left to learn from, as another test says
        return
    assert sorted(i for side in sides(splits) for i in side) == list(range(len(rows)))
    assert splits.labelled
    assert splits == assign(rows, config, seed)
    training = splits.labelled + splits.unlabelled
    for side in (training, splits.val, splits.test):
        others = set(range(len(rows))) - set(side)
        here = {rows[i].patient for i in side} - {None}
        assert not here & {rows[i].patient for i in others}


@given(rows, fractions, st.integers(0, 9))
def test_held_out_patients_are_whole_and_never_all(
    rows: list[Row], fraction: float, seed: int
) -> None:
    kept, held = hold_out(rows, range(len(rows)), fraction, seed)
    assert sorted(kept + held) == list(range(len(rows)))
    assert kept
    assert not {rows[i].patient for i in kept} & {rows[i].patient for i in held} - {None}
    if fraction > 0 and len({r.patient or r.name for r in rows}) > 1:
        assert held
    if fraction == 0:
        assert not held


def test_fractions_are_kept_in_every_class() -> None:
    rows = cohort(patients=60)
    splits = assign(rows, DataConfig(val=0.2, test=0.3, labelled=0.25), 0)
    for label in range(3):
        of = [i for i in range(len(rows)) if rows[i].label == label]
        share = [len(set(side) & set(of)) / len(of) for side in sides(splits)]
        assert share == pytest.approx([0.125, 0.375, 0.2, 0.3], abs=0.06)


def test_without_patients_images_are_drawn() -> None:
    rows = [row(f"{i}", label=i % 2) for i in range(100)]
    splits = assign(rows, DataConfig(val=0.1, test=0.2), 0)
    assert [len(side) for side in sides(splits)] == [70, 0, 10, 20]


def test_seeds_draw_other_patients() -> None:
    assert len({assign(cohort(), DataConfig(), seed).hash for seed in range(4)}) == 4


def test_the_hash_follows_names_not_order() -> None:
    rows = [row("a", label=0, split="labelled"), row("b", label=0, split="val")]
    same = assign(rows[::-1], DataConfig(), 0)
    other = assign([rows[0], row("c", label=0, split="val")], DataConfig(), 0)
    assert assign(rows, DataConfig(), 0).hash == same.hash != other.hash


def test_rows_own_splits_are_kept() -> None:
    names: list[Split] = ["test", "labelled", "val", "unlabelled"]
    splits = assign([row(s, label=0, split=s) for s in names], DataConfig(), 0)
    assert sides(splits) == [(1,), (3,), (2,), (0,)]


def test_rows_without_a_split_train_by_what_is_known_of_them() -> None:
    rows = [row("t", split="test"), row("m", has_mask=True), row("l", label=0), row("n")]
    assert sides(assign(rows, DataConfig(), 0)) == [(1, 2), (3,), (), (0,)]


def test_a_fraction_redraws_labelled_rows_whole_patients() -> None:
    rows = [*cohort(20, split="unlabelled"), row("x", label=0, split="test", patient="t")]
    splits = assign(rows, DataConfig(labelled=0.1), 0)
    assert len(splits.labelled) == 8
    assert len(splits.unlabelled) == 72
    assert len({rows[i].patient for i in splits.labelled}) == 2
    tiny = assign(rows, DataConfig(labelled=0.001), 0)
    assert len(tiny.labelled) == 4


def test_a_fraction_draws_only_rows_that_have_labels() -> None:
    rows = [row(f"{i}", label=0 if i < 10 else None) for i in range(100)]
    splits = assign(rows, DataConfig(labelled=0.5, val=0, test=0), 0)
    assert set(splits.labelled) <= set(range(10))
    assert len(splits.labelled) == 5


def test_a_fraction_is_of_rows_with_a_mask() -> None:
    """As in an archive of twenty images that have a class, and six that have a mask too."""
    rows = [row(f"{i}", label=i % 2, has_mask=i < 6, split="labelled") for i in range(26)]
    splits = assign(rows, DataConfig(labelled=0.5), 0)
    assert len(splits.labelled) == 3
    assert set(splits.labelled) <= set(range(6))
    assert set(range(6, 26)) <= set(splits.unlabelled)
    assert assign(rows, DataConfig(labelled=1), 0).labelled == tuple(range(6))
    assert assign(rows, DataConfig(), 0).labelled == tuple(range(26))


def test_healthy_images_without_a_mask_file_count_beside_ill_ones_with_one() -> None:
    rows = [row(f"{i}", label=i % 2, has_mask=i % 4 == 1, split="labelled") for i in range(40)]
    splits = assign(rows, DataConfig(labelled=0.5), 0)
    assert sum(rows[i].label == 0 for i in splits.labelled) == 10
    assert sum(rows[i].label == 1 for i in splits.labelled) == 5
    assert all(rows[i].has_mask for i in splits.labelled if rows[i].label)


def test_a_patient_with_one_such_row_keeps_all_labels() -> None:
    """Of twenty patients who have a mask, the first has a hundred images, the others one."""
    rows = [
        row(f"{p}-{s}", label=0, patient=f"p{p}", has_mask=s == 0 and p < 20, split="labelled")
        for p in range(30)
        for s in range(100 if p == 0 else 1)
    ]
    for seed in range(8):
        splits = assign(rows, DataConfig(labelled=0.5), seed)
        chosen = {rows[i].patient for i in splits.labelled}
        assert len(chosen) == 10
        assert chosen <= {r.patient for r in rows if r.has_mask}
        assert splits.labelled == tuple(i for i, r in enumerate(rows) if r.patient in chosen)


def test_masks_alone_are_counted_beside_classes_without_any() -> None:
    rows = [row(f"{i}", has_mask=True, split="labelled") for i in range(20)]
    assert len(assign(rows, DataConfig(labelled=0.25), 0).labelled) == 5
    rows += [row(f"{i}", label=0, split="labelled") for i in range(20, 60)]
    assert len(assign(rows, DataConfig(labelled=0.25), 0).labelled) == 15


whole_or_unknown = st.lists(
    st.tuples(st.sampled_from([None, "a", "b", "c", "d"]), st.sampled_from([None, 0, 1])),
    min_size=1,
    max_size=40,
).map(
    lambda known: [
        row(f"r{i}", patient=patient, label=label, has_mask=label is not None, split="unlabelled")
        for i, (patient, label) in enumerate(known)
    ]
)


@given(whole_or_unknown, st.floats(0.01, 1), st.integers(0, 9))
def test_where_all_that_is_known_is_whole_every_row_of_a_patient_counts(
    rows: list[Row], share: float, seed: int
) -> None:
    groups = [g for g in patients(rows, range(len(rows))) if any(annotated(rows[i]) for i in g)]
    if groups:
        drawn = draw(rows, groups, share, seed, "labelled")
        splits = assign(rows, DataConfig(labelled=share), seed)
        assert splits.labelled == tuple(sorted(i for group in drawn for i in group))


def test_the_draw_stays_the_same_for_good() -> None:
    plain = [row(f"plain {p}-{s}", patient=f"p{p}") for p in range(40) for s in range(2)]
    for rows, share, expected in (
        (cohort(), 0.1, "9e7ff71abb8ce9be"),
        (cohort(), 0.3, "c520e1eac2b11fcf"),
        (cohort(20, 3) + plain, 0.1, "8d886ced46578579"),
        (cohort(20, 3) + plain, 0.3, "e9271cf7cc990a23"),
    ):
        assert assign(rows, DataConfig(labelled=share), 0).hash == expected


def test_a_patient_on_two_sides_is_named_with_both_rows() -> None:
    rows = [
        row("a.png", label=0, patient="P7", split="labelled"),
        row("b.png", label=0, patient="P7", split="test"),
    ]
    with pytest.raises(DataError, match=r"'P7'.*a\.png is in train, b\.png in test"):
        assign(rows, DataConfig(), 0)


def test_labelled_and_unlabelled_rows_may_share_a_patient() -> None:
    rows = [
        row("a", label=0, patient="P", split="labelled"),
        row("b", label=0, patient="P", split="unlabelled"),
    ]
    assert sides(assign(rows, DataConfig(), 0))[:2] == [(0,), (1,)]


@pytest.mark.parametrize(
    ("rows", "labelled", "said"),
    [
        ([row("a", split="unlabelled")], None, "no training row is labelled"),
        ([row("a", split="labelled")], None, "no training row is labelled"),
        ([row("a"), row("b")], None, "no training row is labelled"),
        ([row("a", label=0, split="labelled")], 0.0, "data.labelled = 0.0"),
    ],
)
def test_nothing_labelled_is_refused(rows: list[Row], labelled: float | None, said: str) -> None:
    with pytest.raises(DataError, match=said):
        assign(rows, DataConfig(labelled=labelled, val=0, test=0), 0)


def test_each_part_gets_a_patient_with_lesions() -> None:
    rows = cohort(patients=6)
    for seed in range(20):
        kept, held = hold_out(rows, range(24), 0.2, seed, lesion_classes=(2,))
        assert {2} <= {rows[i].label for i in kept} & {rows[i].label for i in held}
        assert len(held) == 4
