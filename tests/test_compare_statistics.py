from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from comparison_folder import make_columns, make_comparison, make_spec, measured
from hypothesis import given
from hypothesis import strategies as st

from pseudolabel_kit.compare import statistics
from pseudolabel_kit.compare.results import Comparison, Measured, Result, Row
from pseudolabel_kit.compare.statistics import (
    Difference,
    Sample,
    Spread,
    difference,
    lacks,
    marks,
    same_rows,
    spread,
    summarise,
    unfounded,
)
from pseudolabel_kit.compare.words import notes
from pseudolabel_kit.engine.bootstrap import founded, replicates
from pseudolabel_kit.engine.scores import Columns


def of_hits(hits: list[int], group: list[int] | None = None) -> Columns:
    """Rows of one class problem each, right or wrong; each its own patient unless grouped."""
    right = np.array(hits, dtype=np.float64)
    owner = np.arange(len(hits)) if group is None else np.array(group)
    return Columns(
        label=np.arange(len(hits)) % 2,
        probabilities=np.where(
            (np.arange(len(hits)) % 2 == 0)[:, None] == (right > 0)[:, None], [0.9, 0.1], [0.1, 0.9]
        ),
        counts=np.zeros((len(hits), 1, 4)),
        group=owner,
        is_patient=np.ones(owner.max() + 1, dtype=np.bool_),
        row=np.arange(len(hits), dtype=np.uint64),
    )


def sample(columns: Columns, resamples: int = 500) -> Sample:
    return Sample(
        values=measured(columns),
        replicates=replicates(columns, resamples, seed=0),
        founded=founded(columns),
    )


def compared(rows: Mapping[str, Sequence[Columns | None]], **more: object) -> Comparison:
    """A comparison of what each seed of each row left."""
    names = list(rows)
    seeds = tuple(range(len(rows[names[0]])))
    options: dict[str, object] = {
        "title": "", "note": "", "split": "test", "against": names[0],
        "measures": ("dice", "accuracy"), "x_label": "", "y_label": "",
    }  # fmt: skip
    return Comparison(
        seeds=seeds,
        rows=tuple(
            Row(name=n, note="", x=None, y=None, minus="", results=results(rows[n])) for n in names
        ),
        **(options | more),  # type: ignore[arg-type]
    )


def results(cells: Sequence[Columns | None]) -> tuple[Result, ...]:
    return tuple(
        Result(seed=seed, measured=found(columns) if columns else None)
        for seed, columns in enumerate(cells)
    )


def found(columns: Columns) -> Measured:
    return Measured(
        measures=measured(columns),
        columns=columns,
        cost=None,
        config={},
        provenance={},
        epochs=[],
        folder=Path(),
    )


def test_a_spread_is_the_mean_and_the_deviation_of_a_sample() -> None:
    three = spread([0.5, 0.7, 0.9])
    assert three is not None
    assert (three.mean, three.deviation, three.n) == pytest.approx((0.7, 0.2, 3))
    assert spread([0.5]) == Spread(mean=0.5, deviation=None, n=1)
    assert spread([]) is None


def test_a_paired_interval_is_that_of_the_two_patients_one_can_draw() -> None:
    # Two patients, two images each: the better method gains both images of the first alone.
    # Draws of (0, 2), (1, 1), (2, 0) gain 0, one half, 1 with chances 1/4, 1/2, 1/4.
    better, worse = of_hits([1, 1, 1, 1], [0, 0, 1, 1]), of_hits([0, 0, 1, 1], [0, 0, 1, 1])
    gain = difference({0: sample(better, 4000)}, {0: sample(worse, 4000)}, "accuracy")
    assert gain == Difference(mean=0.5, interval=(0.0, 1.0), n=1, enough=False)
    draws = sample(better, 4000).replicates["accuracy"] - sample(worse, 4000).replicates["accuracy"]
    shares = [np.mean(draws == value) for value in (0.0, 0.5, 1.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_seeds_are_paired_and_averaged_before_the_interval_is_taken() -> None:
    hits = [[1, 1, 0, 0, 1, 1], [0, 1, 1, 0, 1, 1]]
    first = {seed: sample(of_hits(each)) for seed, each in enumerate(hits)}
    second = {seed: sample(of_hits([0] * 6)) for seed in (0, 1, 2)}
    gain = difference(first, second, "accuracy")
    by_hand = np.mean([first[s].replicates["accuracy"] for s in (0, 1)], axis=0)
    assert gain is not None
    assert gain.mean == pytest.approx(4 / 6)
    assert gain.interval == pytest.approx(tuple(np.percentile(by_hand, [2.5, 97.5])))
    assert gain.n == 2, "the third seed has no partner"


def test_a_method_that_differs_from_itself_in_nothing_differs_by_exactly_0() -> None:
    columns = make_columns(0.6, 0)
    both = summarise(compared({"a": [columns] * 2, "b": [columns] * 2}))
    assert both.differences["b"]["dice"] == Difference(
        mean=0.0, interval=(0.0, 0.0), n=2, enough=True
    )
    assert both.differences["b"]["dice"].sign == 0
    assert both.marks["a"] == both.marks["b"] == {}, "nobody leads"


def test_a_method_that_is_better_on_every_patient_is_told_apart() -> None:
    better, worse = make_columns(0.8, 0), make_columns(0.5, 0)
    both = summarise(compared({"a": [worse] * 2, "b": [better] * 2}))
    gain = both.differences["b"]["dice"]
    assert gain.interval is not None
    assert 0 < gain.interval[0] < gain.mean < gain.interval[1]
    assert gain.sign == 1
    assert both.pairs["a", "b"]["dice"].sign == -1
    assert (both.marks["a"], both.marks["b"]["dice"]) == ({}, "best")


@pytest.mark.parametrize(("patients", "told"), [(2, 0), (4, 0), (5, 1), (15, 1)])
def test_few_patients_call_nothing_better(
    monkeypatch: pytest.MonkeyPatch, patients: int, told: int
) -> None:
    monkeypatch.setattr("comparison_folder.PATIENTS", patients)
    better, worse = make_columns(0.8, 0), make_columns(0.5, 0)
    comparison = compared({"a": [worse] * 2, "b": [better] * 2}, measures=("dice",))
    both = summarise(comparison)
    gain = both.differences["b"]["dice"]
    assert gain.interval is not None
    assert gain.interval[0] > 0, "it is shown, and excludes 0"
    assert gain.sign == told
    assert both.marks["b"]["dice"] == ("best" if told else "tied")
    assert ("dice" in both.marks["a"]) == (not told)
    assert both.unfounded == ([] if told else ["dice"])
    few = "Too few images or patients to call anything better or worse: Dice, pooled."
    assert (few in notes(comparison, both)) == (not told)


def test_a_difference_is_founded_where_both_methods_are_with_every_seed() -> None:
    founded, not_founded = (
        Sample(values={"dice": 0.5}, replicates={}, founded=each) for each in ({"dice"}, set())
    )

    def enough(first: Sequence[Sample], second: Sequence[Sample]) -> bool:
        found = difference(dict(enumerate(first)), dict(enumerate(second)), "dice")
        assert found is not None
        return found.enough

    both, late = [founded, founded], [not_founded, founded]
    assert enough(both, both)
    assert not enough(late, both)
    assert not enough(both, late)
    assert not enough(late[::-1], both)


def test_only_intervals_that_are_shown_are_said_to_be_unfounded() -> None:
    shown = Difference(mean=0.1, interval=(0.0, 0.2), n=1, enough=False)
    hidden, told_apart = replace(shown, interval=None), replace(shown, enough=True)
    assert unfounded([{"dice": told_apart}, {"dice": shown}], "dice")
    assert not unfounded([{"dice": told_apart}, {"dice": hidden}, {"auc": shown}], "dice")


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=20))
def test_the_two_directions_mirror_each_other(hits: list[tuple[int, int]]) -> None:
    one, other = ({0: sample(of_hits([h[i] for h in hits]), 50)} for i in (0, 1))
    there, back = difference(one, other, "accuracy"), difference(other, one, "accuracy")
    assert there is not None and back is not None  # noqa: PT018
    assert there.interval is not None and back.interval is not None  # noqa: PT018
    assert there.mean == -back.mean
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert there.sign == -back.sign


def marked(
    means: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float] | None],
    measure: str,
    seeds: Mapping[str, Sequence[int]] | None = None,
) -> Mapping[str, str]:
    """The marks where the leader, "a", differs from the others by these intervals."""
    samples = {
        name: {
            seed: Sample(values={measure: mean}, replicates={}, founded={measure})
            for seed in (seeds or {}).get(name, (0, 1))
        }
        for name, mean in means.items()
    }
    pairs = {
        ("a", n): {measure: Difference(mean=0.1, interval=each, n=1, enough=True)}
        for n, each in intervals.items()
    }
    return marks(samples, pairs, measure)


def test_the_best_is_marked_only_where_it_is_told_from_every_other() -> None:
    means = {"a": 0.8, "b": 0.7, "c": 0.6}
    apart, across = (0.01, 0.2), (-0.01, 0.2)
    assert marked(means, {"b": apart, "c": apart}, "dice") == {"a": "best"}
    assert marked(means, {"b": across, "c": apart}, "dice") == {"a": "tied", "b": "tied"}
    assert marked(means, {"b": apart, "c": across}, "dice") == {"a": "tied", "c": "tied"}
    assert marked(means, {"b": apart, "c": None}, "dice") == {"a": "tied", "c": "tied"}
    assert marked({"a": 0.8}, {}, "dice") == {}, "nobody to lead"


def test_nobody_leads_where_all_are_equal() -> None:
    assert marked({"a": 0.0, "b": 0.0, "c": 0.0}, {}, "dice") == {}


def test_means_over_other_seeds_are_not_ranked() -> None:
    means, apart = {"a": 0.8, "b": 0.7}, {"b": (0.01, 0.2)}
    assert marked(means, apart, "dice", {"a": (0, 1), "b": (0, 1)}) == {"a": "best"}
    assert marked(means, apart, "dice", {"a": (0, 2), "b": (0, 2)}) == {"a": "best"}, "the same two"
    assert marked(means, apart, "dice", {"a": (0, 1), "b": (0, 1, 2)}) == {}
    assert marked(means, apart, "dice", {"a": (0, 1), "b": (0, 2)}) == {}


def test_one_seed_names_no_best() -> None:
    means, seeds = {"a": 0.8, "b": 0.7, "c": 0.6}, {"a": (0,), "b": (0,), "c": (0,)}
    apart, across = (0.01, 0.2), (-0.01, 0.2)
    assert marked(means, {"b": apart, "c": apart}, "dice", seeds) == {"a": "tied"}
    assert marked(means, {"b": across, "c": apart}, "dice", seeds) == {"a": "tied", "b": "tied"}


def test_an_easy_seed_that_others_lack_makes_no_leader() -> None:
    easy, hard = make_columns(0.9, 0), make_columns(0.5, 1)
    both = summarise(compared({"a": [easy, hard], "b": [None, make_columns(0.6, 1)]}))
    assert both.spreads["a"]["dice"].mean > both.spreads["b"]["dice"].mean
    assert both.pairs["a", "b"]["dice"].mean < 0, "of the seed that both have"
    assert both.marks == {"a": {}, "b": {}}
    assert both.unmarked == ["dice", "accuracy"]


def test_less_can_be_better() -> None:
    means, below = {"a": 0.1, "b": 0.3}, (-0.3, -0.1)
    assert marked(means, {"b": below}, "false_positive_share") == {"a": "best"}
    assert marked(means, {"b": (-0.3, 0.1)}, "false_positive_share") == {"a": "tied", "b": "tied"}


def test_undefined_measures_are_left_out() -> None:
    one, other = make_columns(0.7, 0), make_columns(0.5, 0, heads="classes")
    both = summarise(compared({"a": [one], "b": [other]}))
    assert "dice" not in both.spreads["b"]
    assert set(both.differences["b"]) == {"accuracy"}
    assert both.lacks == {"b": "does not segment"}
    assert "dice" not in both.marks["a"], "nobody else was measured"


def test_a_row_without_any_measure_is_not_said_to_lack_a_head() -> None:
    dice = {"dice": Spread(mean=0.5, deviation=None, n=1)}
    accuracy = {"accuracy": Spread(mean=0.5, deviation=None, n=1)}
    both = ("dice", "accuracy")
    assert lacks("b", {"a": {**dice, **accuracy}, "b": {}}, both) == ""
    assert lacks("b", {"a": accuracy, "b": dice}, both) == "does not classify"
    assert lacks("a", {"a": accuracy, "b": accuracy}, both) == ""


def test_what_is_not_shown_is_not_lacked() -> None:
    dice = {"dice": Spread(mean=0.5, deviation=None, n=1)}
    accuracy = {"accuracy": Spread(mean=0.5, deviation=None, n=1)}
    rows = {"a": {**dice, **accuracy}, "b": dice}
    assert lacks("b", rows, ("dice", "miou")) == ""
    assert lacks("b", rows, ("dice", "auc", "accuracy")) == "does not classify"


def test_missing_seeds_are_left_out() -> None:
    columns = [make_columns(0.6, seed) for seed in range(3)]
    both = summarise(compared({"a": [*columns], "b": [None, columns[1], None], "c": [None] * 3}))
    assert both.spreads["b"]["dice"].n == 1
    same = Difference(mean=0.0, interval=(0.0, 0.0), n=1, enough=True)
    assert both.differences["b"]["dice"] == same
    assert both.spreads["c"] == {}
    assert both.differences["c"] == {}


def test_rows_measured_on_other_images_have_no_interval() -> None:
    one, other = of_hits([1, 0, 1, 1]), of_hits([1, 1, 1, 1, 0])
    both = summarise(compared({"a": [one], "b": [other]}))
    assert both.strangers == ["b"]
    assert both.differences["b"]["accuracy"].interval is None
    assert set(both.marks["a"]) == set(both.marks["b"]) == {"accuracy"}


def test_the_same_images_are_known_by_their_rows_and_patients() -> None:
    columns = make_columns(0.5, 0)
    assert same_rows(columns, make_columns(0.9, 1, heads="masks"))
    assert same_rows(columns, make_columns(0.9, 1, heads="classes"))
    for other in (
        replace(columns, group=np.roll(columns.group, 1)),
        replace(columns, row=columns.row + np.uint64(1)),
        replace(columns, is_patient=~columns.is_patient),
    ):
        assert not same_rows(columns, other)


def test_runs_on_other_rows_get_no_star_however_far_apart() -> None:
    better, worse = make_columns(0.9, 0), make_columns(0.4, 0)
    other = replace(better, row=better.row + np.uint64(1))
    both = summarise(compared({"a": [worse] * 2, "b": [other] * 2}))
    assert both.strangers == ["b"]
    assert both.differences["b"]["dice"].interval is None
    assert "best" not in both.marks["b"].values()


def test_costs_are_averaged_over_seeds(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_spec(["a", "b"], seeds=2), {"a": 0.5})
    costs = summarise(comparison).costs
    assert costs["a"]["seconds"].mean == pytest.approx(100 * 1.025)
    assert costs["a"]["parameters"] == Spread(mean=1e7, deviation=0.0, n=2)
    assert costs["b"] == {}


def test_everything_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = compared({"a": [make_columns(0.5, 0)], "b": [make_columns(0.6, 0)]})
    first = summarise(comparison)
    monkeypatch.setattr(statistics, "replicates", None)
    assert summarise(comparison) is first


def test_eleven_methods_with_five_seeds_take_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comparison_folder.ROWS", 550)
    monkeypatch.setattr("comparison_folder.PATIENTS", 110)
    monkeypatch.setattr("comparison_folder.HOLDS", np.arange(550) % 3 > 0)
    rows = {f"{i}": [make_columns(0.5 + 0.03 * i, seed) for seed in range(5)] for i in range(11)}
    comparison = compared(rows)
    began = time.process_time()
    summarise(comparison)
    assert time.process_time() - began < 15
