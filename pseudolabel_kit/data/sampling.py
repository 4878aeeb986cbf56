"""Which rows a step sees: a pure function of the step's number, so that a run can resume."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def rows_of_step(step: int, *, count: int, batch: int, seed: int, stream: str) -> NDArray[np.int64]:
    """Positions (batch,) in [0, count) that step number `step` (from 0) sees.

    A stream is an endless row of permutations of range(count), one an epoch, each seeded by
    (seed, stream, epoch); step s takes elements s*batch to (s+1)*batch of it. So every epoch
    shows every row exactly once, and no state is kept between steps.

    Raises:
        ValueError: `count` or `batch` is less than 1, or `step` is negative.
    """
    if step < 0 or count < 1 or batch < 1:
        raise ValueError(f"expected step >= 0, count >= 1, batch >= 1: {step}, {count}, {batch}")
    places = np.arange(step * batch, (step + 1) * batch, dtype=np.int64)
    epochs, within = np.divmod(places, count)
    rows = np.empty(batch, dtype=np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        rows[here] = _permutation(count, seed, stream, int(epoch))[within[here]]
    return rows


def pool_of_round(number: int, *, rounds: int, count: int, seed: int) -> NDArray[np.int64]:
    """The rows of range(count) that take part in round `number` (from 0) of `rounds`.

    Each round adds its share to those of the rounds before it; in the last one, all take part.
    """
    taken = -(-count * (number + 1) // rounds)
    return _permutation(count, seed, "pool", 0)[:taken]


@lru_cache(maxsize=8)
def _permutation(count: int, seed: int, stream: str, epoch: int) -> NDArray[np.int64]:
    generator = np.random.default_rng([seed, zlib.crc32(stream.encode()), epoch])
    order = generator.permutation(count).astype(np.int64)
    order.flags.writeable = False
    return order
