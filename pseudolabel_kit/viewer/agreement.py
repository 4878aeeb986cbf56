"""How far an explanation points at what the model marked."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVELS = 256  # of a map, each of them a threshold


class Agreement(NamedTuple):
    """Of a map and a mask.

    Attributes:
        inside: the share of the map's sum that lies inside the mask; that of a map which is the
            same everywhere is the mask's share of the image.
        overlap: the Dice overlap of mask and map at the threshold that suits them best.
    """

    inside: float
    overlap: float


def agreement(map_: NDArray[np.floating], mask: NDArray[np.bool_]) -> Agreement | None:
    """How far a map (H,W) in [0, 1] agrees with a mask (H,W); None where either is empty.

    >>> map_ = np.array([[0.0, 0.2], [0.8, 1.0]])
    >>> agreement(map_, np.array([[False, False], [True, True]]))
    Agreement(inside=0.9, overlap=1.0)
    >>> agreement(map_, np.array([[True, False], [False, False]]))
    Agreement(inside=0.0, overlap=0.0)
    """
    level = np.rint(map_ * (LEVELS - 1)).astype(np.intp)
    if not mask.any() or not level.any():
        return None
    all_ = _at_least(level)
    hits = _at_least(level[mask])
    dice = 2 * hits / (all_ + np.count_nonzero(mask))
    inside = float(map_[mask].sum()) / float(map_.sum())
    return Agreement(inside=round(inside, 6), overlap=round(float(dice.max()), 6))


def _at_least(level: NDArray[np.intp]) -> NDArray[np.int64]:
    """How many pixels have each level or more, from the highest down to 1."""
    counts = np.bincount(level.ravel(), minlength=LEVELS)
    found: NDArray[np.int64] = np.cumsum(counts[:0:-1])
    return found
