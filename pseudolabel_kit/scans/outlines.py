"""Masks as COCO writes them: polygons, and run lengths as numbers or as text."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.path import Path
from numpy.typing import NDArray


def rasterise(outline: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels (H,W) that an annotation's `segmentation` marks.

    Args:
        outline: a list of polygons [x1, y1, x2, y2, ...], or {"counts", "size"}.
        size: (H, W) of its image.

    Raises:
        ValueError: it is neither, or of another size.
    """
    if isinstance(outline, Mapping):
        return _runs(outline, size)
    if not isinstance(outline, Sequence) or not outline:
        raise ValueError("an outline that is no polygon and no run lengths")
    mask = np.zeros(size, dtype=np.bool_)
    for polygon in outline:
        points = _numbers(polygon)
        if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
            raise ValueError("a polygon of other than three or more points")
        _fill(mask, points.reshape(-1, 2))
    return mask


def _numbers(polygon: Any) -> NDArray[np.float64]:
    try:
        return np.array(polygon, dtype=np.float64)
    except (OverflowError, TypeError, ValueError):
        raise ValueError("a polygon of what are no numbers") from None


def _fill(mask: NDArray[np.bool_], points: NDArray[np.float64]) -> None:
    """Mark the pixels of a mask (H,W) whose centres a polygon (n,2) encloses."""
    most = mask.shape[::-1]
    left, top = np.clip(np.floor(points.min(axis=0)), 0, most).astype(int)
    right, bottom = np.clip(np.ceil(points.max(axis=0)), 0, most).astype(int)
    if left < right and top < bottom:
        x, y = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
        inside = Path(points).contains_points(np.stack([x.ravel(), y.ravel()], axis=1))
        mask[top:bottom, left:right] |= inside.reshape(x.shape)


def _runs(outline: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Runs of 0 and 1 in turns, down the columns."""
    if outline.get("size") != [*size]:
        raise ValueError(f"run lengths of size {outline.get('size')}; expected {[*size]}")
    counts = outline.get("counts")
    lengths = _unpacked(counts) if isinstance(counts, str) else counts
    pixels = size[0] * size[1]
    if not isinstance(lengths, Sequence) or not all(
        isinstance(length, int) and 0 <= length <= pixels for length in lengths
    ):
        raise ValueError(f"run lengths that are no whole numbers from 0 to {pixels}")
    if sum(lengths) != pixels:
        raise ValueError("run lengths that do not add up to the image")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(size[::-1]).T


def _unpacked(text: str) -> list[int]:
    """Run lengths from text: 5 bits a character, each from the third but one told by its change."""
    lengths: list[int] = []
    characters = iter(text)
    for first in characters:
        value = 0
        for shift, character in zip(itertools.count(0, 5), itertools.chain([first], characters)):
            bits = ord(character) - 48
            if not 0 <= bits < 64 or shift > 60:
                raise ValueError("run lengths that are damaged")
            value |= (bits & 31) << shift
            if not bits & 32:
                value -= (bits & 16) << (shift + 1)
                break
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
    return lengths
