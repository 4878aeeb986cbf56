"""A chest in 3-D: a body on a table, two lungs, a windpipe, a lesion at the ribs, a stomach."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SPACING = (4.0, 4.0, 8.0)
AIR, LUNG, TISSUE, TABLE = -1000.0, -850.0, 40.0, 300.0
Mask = NDArray[np.bool_]


class Chest(NamedTuple):
    """hu (D,H,W) with what is where in it; `lungs` hold the lesion, not the windpipe."""

    hu: NDArray[np.float64]
    lungs: Mask
    lesion: Mask
    windpipe: Mask
    stomach: Mask

    @property
    def grey(self) -> NDArray[np.uint8]:
        """As the lung window shows it."""
        return np.clip((self.hu + 1350) / 1500 * 255, 0, 255).astype(np.uint8)


def chest(depth: int = 32, side: int = 96) -> Chest:
    """A chest of `side` x `side` voxels; the body is 0.9 of that wide."""
    z, y, x = np.mgrid[:depth, :side, :side].astype(float)
    x, y = (x + 0.5) * 2 / side - 1, (y + 0.5) * 2 / side - 1
    wide = np.sqrt(np.sin(np.pi * (z + 0.5) / depth))
    lungs = ball((np.abs(x) - 0.42) / 0.28, y / 0.5) < wide**2
    windpipe = (ball(x / 0.07, (y + 0.1) / 0.07) < 1) & (z < 0.4 * depth) & ~lungs
    bronchi = (np.abs(x) < 0.2) & (np.abs(y) < 0.05) & (np.abs(z - 0.4 * depth) < 1.5) & ~lungs
    lesion = ball((x - 0.62) / 0.15, y / 0.15, (z - depth / 2) / 4) < 1
    stomach = (ball((x - 0.3) / 0.15, (y + 0.4) / 0.15) < 1) & (z >= depth - 1)
    hu = np.full(lungs.shape, AIR)
    hu[(np.abs(y - 0.85) < 0.05) & (np.abs(x) < 0.8)] = TABLE
    hu[ball(x / 0.9, y / 0.7) < 1] = TISSUE
    hu[lungs] = LUNG
    hu[windpipe | bronchi | stomach] = AIR
    hu[lesion & lungs] = TISSUE
    hu += np.random.default_rng(0).normal(0, 25, hu.shape)
    return Chest(hu, lungs, lesion & lungs, windpipe, stomach)


def ball(*axes: NDArray[Any]) -> NDArray[np.float64]:
    """The squared distance from the origin."""
    return np.sum([axis**2 for axis in np.broadcast_arrays(*axes)], axis=0)


def dice(one: Mask, other: Mask) -> float:
    """Overlap of two masks."""
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))
