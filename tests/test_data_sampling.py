from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudolabel_kit.data.sampling import rows_of_step

counts = st.integers(1, 30)
batches = st.integers(1, 12)
seeds = st.integers(0, 2**31)


@given(counts, batches, seeds)
def test_every_epoch_shows_every_row_once(count: int, batch: int, seed: int) -> None:
    epochs = 3
    steps = -(-epochs * count // batch)
    stream = np.concatenate(
        [rows_of_step(s, count=count, batch=batch, seed=seed, stream="a") for s in range(steps)]
    )
    for epoch in range(epochs):
        shown = stream[epoch * count : (epoch + 1) * count]
        assert sorted(shown) == list(range(count))


@given(counts, batches, seeds, st.permutations(range(6)))
def test_a_step_does_not_depend_on_the_steps_before(
    count: int, batch: int, seed: int, order: list[int]
) -> None:
    def rows(step: int) -> list[int]:
        return rows_of_step(step, count=count, batch=batch, seed=seed, stream="a").tolist()

    in_turn = {step: rows(step) for step in range(6)}
    assert {step: rows(step) for step in order} == in_turn


def test_streams_seeds_and_epochs_differ() -> None:
    def rows(step: int = 0, seed: int = 0, stream: str = "a") -> list[int]:
        return rows_of_step(step, count=50, batch=50, seed=seed, stream=stream).tolist()

    assert len({tuple(x) for x in (rows(), rows(1), rows(seed=1), rows(stream="b"))}) == 4


def test_the_answer_may_be_changed_without_changing_the_stream() -> None:
    first = rows_of_step(0, count=5, batch=5, seed=0, stream="a")
    kept = first.copy()
    first[:] = 0
    assert (rows_of_step(0, count=5, batch=5, seed=0, stream="a") == kept).all()


@pytest.mark.parametrize(("step", "count", "batch"), [(-1, 1, 1), (0, 0, 1), (0, 1, 0)])
def test_what_cannot_be_is_refused(step: int, count: int, batch: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        rows_of_step(step, count=count, batch=batch, seed=0, stream="a")
