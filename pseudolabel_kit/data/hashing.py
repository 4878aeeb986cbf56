"""Finds copies of images by what they show: two that differ little have nearly the same bits.

A hash is the signs of an image's 16 × 16 lowest frequencies (cosine transform) but the mean.
Scale, noise, compression, brightness and contrast turn few of them. A flip turns exactly those
of the odd frequencies along its axis; bits are therefore kept in four groups, by whether each
frequency is even or odd down and across, and flipped copies are found from the same hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array  # type: ignore[import-untyped]
from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

SIDE = 16
BITS = SIDE**2 - 1
REACH = 20  # bits in which copies may differ; on chest CT no two patients come below 39
GENEROUS = 26  # where all copies are to be found at any size, at the price of some that are none
FLAT = 1e-5  # a frequency below it has no sign: images of one grey are like no other
VIEWS = ("as it is", "mirrored", "upside down", "turned by 180°")
# How each view turns the groups: even-even, even-odd, odd-even, odd-odd (down-across).
_TURNS = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=np.float32)
_LATER, _EARLIER = 512, 4096  # rows of a block of comparisons: some 40 MB

Hashes = NDArray[np.int8]
Numbers = NDArray[np.int64]
Group = tuple[int, ...]


def digest(image: NDArray[np.float32]) -> bytes:
    """Equal for images (C,H,W) of equal pixels, and for no others."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest()


def hashed(images: NDArray[np.float32]) -> Hashes:
    """Hashes (B,4,64) of images (B,C,H,W) in [0, 1]: signs in {-1, 0, 1} by group."""
    height, width = images.shape[-2:]
    grey = images.mean(axis=1)
    found = _waves(height) @ grey @ _waves(width).T
    found[:, 0, 0] = 0
    signs = np.where(np.abs(found) < FLAT, 0, np.sign(found)).astype(np.int8)
    groups = [signs[:, down::2, across::2] for down in (0, 1) for across in (0, 1)]
    return np.stack(groups, axis=1).reshape(len(images), 4, -1)


def equal(digests: Sequence[bytes]) -> list[Group]:
    """Rows whose pixels equal each other's, where there are two or more."""
    return _groups(_numbered(digests))


def alike(
    hashes: Hashes,
    *,
    digests: Sequence[bytes],
    owners: Sequence[object],
    reach: int = REACH,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Group]:
    """Rows that show the same, also flipped: each with all that it is a copy of, and their copies.

    All pairs are compared, in blocks. Rows of one owner are alike only where their pixels are
    equal, since neighbouring slices are; images of one grey are like no other.

    Args:
        hashes: of all rows.
        digests: of their pixels.
        owners: their patients, or what else they are of.
        reach: bits in which copies may differ.
        progress: told (rows done, rows in all).
    """
    count = len(hashes)
    shows = hashes.any(axis=(1, 2))
    labels = np.where(shows, _numbered(digests), np.arange(count) + count)
    numbers = _numbered(owners)
    for start in range(0, count, _LATER):
        later = slice(start, min(start + _LATER, count))
        for before in range(0, later.stop, _EARLIER):
            first, second = _near(hashes, later, slice(before, before + _EARLIER), reach)
            other = (numbers[first] != numbers[second]) & (labels[first] != labels[second])
            if other.any():
                labels = _joined(labels, first[other], second[other])
        progress(later.stop, count)
    return _groups(labels)


def likeness(hashes: Hashes, group: Group) -> tuple[int, set[int]]:
    """In how many of 255 bits a group differs from its first row at most, and the `VIEWS` of it.

    A view is an index: how a row is turned to be like the first.
    """
    rows = hashes[list(group)].astype(np.float32)
    agreed = np.einsum("gk,ngk->ng", rows[0], rows) @ _TURNS.T
    return int(BITS - agreed.max(axis=1).min()) // 2, set(agreed[1:].argmax(axis=1).tolist())


def _near(hashes: Hashes, later: slice, earlier: slice, reach: int) -> tuple[Numbers, Numbers]:
    """Pairs of an earlier and a later row that are within reach, in any view."""
    one = hashes[later].transpose(1, 0, 2).astype(np.float32)
    other = hashes[earlier].transpose(1, 2, 0).astype(np.float32)
    agreed = np.tensordot(_TURNS, one @ other, axes=1)  # bits that agree less those that differ
    row, column = np.nonzero(agreed.max(axis=0) >= BITS - 2 * reach)
    return column + earlier.start, row + later.start


def _numbered(keys: Sequence[object]) -> Numbers:
    """Equal numbers, from 0, for equal keys."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _joined(labels: Numbers, first: Numbers, second: Numbers) -> Numbers:
    """The labels of rows, after those of the first rows became those of the second ones."""
    nodes, (one, other) = len(labels) * 2, (labels[first], labels[second])
    links = coo_array((np.ones(len(one), dtype=np.bool_), (one, other)), shape=(nodes, nodes))
    _, components = connected_components(links, directed=False)
    return np.asarray(components, dtype=np.int64)[labels]


def _groups(labels: Numbers) -> list[Group]:
    """Rows of one label, where there are two or more, in the order of their first."""
    order = np.argsort(labels, kind="stable")
    borders = np.flatnonzero(np.diff(labels[order])) + 1
    return sorted(tuple(rows.tolist()) for rows in np.split(order, borders) if len(rows) > 1)


@lru_cache(maxsize=4)
def _waves(side: int) -> NDArray[np.float32]:
    """The lowest frequencies along a side, (16, side); their products have means over pixels."""
    places = (np.arange(side) + 0.5) / side
    waves: NDArray[Any] = np.cos(np.pi * np.arange(SIDE)[:, None] * places) / side
    return waves.astype(np.float32)
