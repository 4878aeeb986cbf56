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
        points = np.array(polygon, dtype=np.float64)
        if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
            raise ValueError("a polygon of other than three or more points")
        _fill(mask, points.reshape(-1, 2))
    return mask


def _fill(mask: NDArray[np.bool_], points: NDArray[np.float64]) -> None:
    """Mark the pixels of a mask (H,W) whose centres a polygon (n,2) encloses."""
    left, top = np.maximum(np.floor(points.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(points.max(axis=0)), mask.shape[::-1]).astype(int)
    if left < right and top < bottom:
        x, y = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
        inside = Path(points).contains_points(np.stack([x.ravel(), y.ravel()], axis=1))
        mask[top:bottom, left:right] |= inside.reshape(x.shape)


def _runs(outline: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Runs of 0 and 1 in turns, down the columns."""
    if outline.get("size") != [*size]:
        raise ValueError(f"run lengths of size {outline.get('size')}; expected {[*size]}")
    counts = outline.get("counts")
    lengths = _unpacked(counts) if isinstance(counts, str) else np.array(counts, dtype=np.int64)
    if lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != size[0] * size[1]:
        raise ValueError("run lengths that do not add up to the image")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(size[::-1]).T


def _unpacked(text: str) -> NDArray[np.int64]:
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
    return np.array(lengths, dtype=np.int64)
