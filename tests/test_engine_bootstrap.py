from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pseudolabel_kit.engine.bootstrap import (
    CAUTION,
    ENOUGH_OWNERS,
    draws,
    founded,
    interval,
    intervals,
    replicates,
    sign,
    suffices,
)
from pseudolabel_kit.engine.measures import Outcome, columns
from pseudolabel_kit.engine.scores import scores


def outcome(index: int, patient: str | None, correct: bool, tp: int = 5, fn: int = 5) -> Outcome:
    return Outcome(
        name=f"image-{index:04d}",
        patient=patient,
        label=index % 2,
        probabilities=(0.9, 0.1) if (index % 2 == 0) == correct else (0.1, 0.9),
        counts=((tp, 3, fn, 50),),
    )


def many(rows: int, per_patient: int = 6) -> list[Outcome]:
    random = np.random.default_rng(0)
    return [
        outcome(
            i,
            f"patient-{i // per_patient}",
            correct=bool(random.random() < 0.8),
            tp=int(random.integers(0, 40)),
            fn=int(random.integers(1, 20)),
        )
        for i in range(rows)
    ]


def test_one_seed_gives_one_answer() -> None:
    rows = many(60)
    assert intervals(rows, 200, seed=3) == intervals(rows, 200, seed=3)
    assert intervals(rows, 200, seed=3) != intervals(rows, 200, seed=4)


def test_the_interval_of_a_mean_is_the_textbooks() -> None:
    rows = [outcome(i, None, correct=i % 10 < 8) for i in range(400)]
    low, high = intervals(rows, 2000, seed=0)["accuracy"]
    assert (low, high) == pytest.approx((0.8 - 1.96 * 0.02, 0.8 + 1.96 * 0.02), abs=0.006)


def test_patients_are_drawn_whole() -> None:
    # Ten images of a patient are all right or all wrong: as good as 100 images, not 1000.
    rows = [outcome(i, f"patient-{i // 10}", correct=(i // 10) % 10 < 8) for i in range(1000)]
    low, high = intervals(rows, 2000, seed=0)["accuracy"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.8 * 0.2 / 100), rel=0.1)


def test_a_patient_drawn_twice_counts_twice() -> None:
    rows = [outcome(0, "a", correct=True), outcome(1, "b", correct=False)]
    values = replicates(columns(rows), 500, seed=0)["accuracy"]
    assert set(values.tolist()) == {0.0, 0.5, 1.0}
    assert values.mean() == pytest.approx(0.5, abs=0.05)


def test_replicates_of_two_methods_are_paired() -> None:
    better = [outcome(i, f"patient-{i // 4}", correct=i % 4 != 0) for i in range(80)]
    worse = [outcome(i, f"patient-{i // 4}", correct=i % 4 > 1) for i in range(80)]
    first = replicates(columns(better), 300, seed=1)["accuracy"]
    difference = first - replicates(columns(worse), 300, seed=1)["accuracy"]
    assert difference.min() == pytest.approx(0.25)
    assert difference.max() == pytest.approx(0.25)


def test_measures_that_most_resamples_leave_undefined_have_no_interval() -> None:
    rows = [
        Outcome(
            name="a", patient=None, label=None, probabilities=(0.5, 0.5), counts=((1, 0, 1, 2),)
        ),
        Outcome(name="b", patient=None, label=None, probabilities=(0.5, 0.5), counts=None),
    ]
    found = intervals(rows, 100, seed=0)
    assert "accuracy" not in found
    assert found["dice_image"] == pytest.approx((2 / 3, 2 / 3))


def test_an_interval_needs_half_of_the_replicates() -> None:
    values = np.array([1.0, 2.0, np.nan, np.nan])
    assert interval(values) == pytest.approx((1.025, 1.975))
    assert interval(np.append(values, np.nan)) is None
    assert interval(np.array([])) is None


def by_chance(patients: int, trials: int = 4000) -> float:
    """How often the interval of the difference in pooled Dice of two equal methods excludes 0."""
    random = np.random.default_rng(patients)
    lesion = random.lognormal(5, 0.7, (patients, trials))  # pixels of each patient, widely spread
    drawn = draws(patients, 400, seed=0).astype(np.float64)

    def replicated() -> NDArray[np.float64]:
        found = lesion / (1 + np.exp(-random.normal(1, 0.7, lesion.shape)))
        wrong = lesion * random.lognormal(-1.2, 0.7, lesion.shape)
        return (drawn @ (2 * found)) / (drawn @ (found + wrong + lesion))

    bounds = [interval(values) for values in (replicated() - replicated()).T]
    return float(np.mean([sign(each, enough=True) != 0 for each in bounds]))


def test_few_patients_exclude_0_by_chance_as_often_as_is_said() -> None:
    assert "about one interval of 20 excludes 0 by chance; with 5 to 10 patients, about three" in (
        CAUTION
    )
    assert 20 * by_chance(100) == pytest.approx(1, abs=0.5)
    few = [20 * by_chance(patients) for patients in range(ENOUGH_OWNERS, 11)]
    assert np.mean(few) == pytest.approx(3, abs=0.5)
    assert 2 < min(few) < max(few) < 4
    assert 20 * by_chance(2) > 9, "every other one: what the floor is there for"


def test_below_the_floor_nothing_is_told_apart() -> None:
    assert [sign(bounds, enough=True) for bounds in ((0.1, 0.2), (-0.2, -0.1))] == [1, -1]
    assert [sign(bounds, enough=True) for bounds in ((0.0, 0.2), (-0.1, 0.1), None)] == [0, 0, 0]
    assert sign((0.1, 0.2), enough=False) == 0
    assert suffices(np.arange(10) % 5)
    assert not suffices(np.arange(40) % 4)
    assert not suffices(np.arange(9))


def test_each_measure_stands_on_rows_of_its_own() -> None:
    # 20 patients of one image each: 8 hold a lesion, and of these are all of class 1.
    rows = [
        replace(outcome(i, f"{i}", correct=True, tp=lesion, fn=lesion), label=int(i < 8))
        for i in range(20)
        for lesion in [5 if i < 8 else 0]
    ]
    assert founded(columns(rows)) == {"accuracy", "false_positive_share"}
    more = [replace(row, name=f"{row.name}, again") for row in rows]
    table = columns([*rows, *more])
    everything = founded(table)
    assert everything == set(scores(table, np.ones((1, 20))))
    masked = [replace(row, label=None) for row in more]
    assert founded(columns([*rows, *masked])) == everything - {"sensitivity", "specificity", "auc"}


def test_the_mean_over_patients_stands_on_known_patients_alone() -> None:
    known = [outcome(i, f"{i % 2}", correct=True) for i in range(10)]
    unknown = [outcome(i, None, correct=True) for i in range(10, 30)]
    told = founded(columns([*known, *unknown]))
    assert {"dice", "dice_image", "miou", "miou_image"} <= told
    assert not told & {"dice_patient", "miou_patient"}
    others = [outcome(i, f"{i}", correct=True) for i in range(30, 33)]
    assert {"dice_patient", "miou_patient"} <= founded(columns([*known, *others, *unknown]))


def test_overlaps_stand_on_the_rarest_kind_of_lesion() -> None:
    """As their mean over channels does. A channel that never occurs has no part in it."""

    def of_two(rare: int) -> list[Outcome]:
        held, free = (5, 3, 5, 50), (0, 3, 0, 60)
        return [
            replace(outcome(i, f"{i}", correct=True), counts=(held, held if i < rare else free))
            for i in range(20)
        ]

    overlaps = {f"{name}{of}" for name in ("dice", "miou") for of in ("", "_image", "_patient")}
    assert not founded(columns(of_two(9))) & overlaps
    assert overlaps <= founded(columns(of_two(10)))
    assert overlaps <= founded(columns(of_two(0)))
    nobodys = [replace(row, patient=None, name=f"{row.name}, again") for row in of_two(10)]
    assert overlaps <= founded(columns([*of_two(0), *nobodys])), "nor one of no patient's in theirs"


def test_what_stands_on_nothing_is_not_founded() -> None:
    none = [replace(row, label=None, counts=((0, 0, 0, 0),)) for row in many(60)]
    assert founded(columns(none)) == set()


@pytest.mark.parametrize(("rows", "resamples"), [(0, 100), (1, 100), (5, 100), (60, 0)])
def test_nothing_to_draw_from_gives_no_intervals(rows: int, resamples: int) -> None:
    assert intervals(many(rows), resamples, seed=0) == {}


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = many(60)
    whole = replicates(columns(rows), 100, seed=0)
    monkeypatch.setattr("pseudolabel_kit.engine.bootstrap._CHUNK", 700)
    chunked = replicates(columns(rows), 100, seed=0)
    for name, values in whole.items():
        np.testing.assert_allclose(chunked[name], values, rtol=1e-12)


def test_a_thousand_resamples_of_six_hundred_rows_are_quick() -> None:
    rows = many(600)
    began = time.perf_counter()
    intervals(rows, 1000, seed=0)
    assert time.perf_counter() - began < 2
