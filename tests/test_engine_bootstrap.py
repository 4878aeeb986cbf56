from __future__ import annotations

import time

import numpy as np
import pytest

from pseudolabel_kit.engine.bootstrap import interval, intervals, replicates
from pseudolabel_kit.engine.measures import Outcome, columns


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
