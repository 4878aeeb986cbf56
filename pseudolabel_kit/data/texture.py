"""Random fields and spots: the brushes that the phantom is painted with.

Coordinates run from -1 to 1 over an image, x to the right and y downwards.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@lru_cache(maxsize=8)
def axis(side: int) -> Array:
    """The `side` pixel centres of one axis, from -1 to 1."""
    return (np.arange(side, dtype=np.float32) + 0.5) * np.float32(2 / side) - 1


def smooth_noise(rng: np.random.Generator, side: int, cells: int) -> Array:
    """A random field (side, side) of mean 0 and variance about 1, smooth below 2/cells."""
    blend = _blend(side, cells)
    values = rng.standard_normal((cells + 2, cells + 2), dtype=np.float32)
    field: Array = blend @ values @ blend.T
    return field


@lru_cache(maxsize=32)
def _blend(side: int, cells: int) -> Array:
    knots = np.linspace(-1 - 1 / cells, 1 + 1 / cells, cells + 2, dtype=np.float32)
    weights = np.exp(-0.5 * ((axis(side)[:, None] - knots) * cells / 1.2) ** 2)
    unit: Array = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    return unit


def spots(side: int, x: Array, y: Array, radius: Array, height: Array) -> Array:
    """The sum of Gaussian spots (n,), as one product of matrices; (side, side)."""
    across = np.exp(-0.5 * ((axis(side) - x[:, None]) / radius[:, None]) ** 2)
    down = np.exp(-0.5 * ((axis(side) - y[:, None]) / radius[:, None]) ** 2)
    total: Array = (down.T * height) @ across
    return total


def soft_step(field: Array, width: float) -> Array:
    """1 where `field` is well above 0, 0 where it is well below; `width` is the edge's."""
    step: Array = 0.5 + 0.5 * np.tanh(field / width)
    return step
