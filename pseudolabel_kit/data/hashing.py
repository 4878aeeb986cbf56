"""Finds copies of images by what they show: two that differ little have nearly the same bits.

A hash is the signs of an image's 16 × 16 lowest frequencies (cosine transform) but the mean.
Scale, noise, compression, brightness and contrast turn few of them. A flip turns exactly those
of the odd frequencies along its axis; bits are therefore kept in four groups, by whether each
frequency is even or odd down and across, and flipped copies are found from the same hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SIDE = 16
BITS = SIDE**2 - 1
REACH = 20  # bits in which copies may differ; on chest CT no two patients come below 39
FLAT = 1e-5  # a frequency below it has no sign: images of one grey are like no other
VIEWS = ("as it is", "mirrored", "upside down", "turned by 180°")
# How each view turns the groups: even-even, even-odd, odd-even, odd-odd (down-across).
_TURNS = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=np.float32)
_LATER, _EARLIER = 512, 4096  # rows of a block of comparisons: some 40 MB

Hashes = NDArray[np.int8]


class Pair(NamedTuple):
    """Two rows that show the same: `first` comes before `second`.

    Attributes:
        bits: in how many of 255 they differ.
        view: index into `VIEWS`: how the second is turned to be like the first.
    """

    first: int
    second: int
    bits: int = 0
    view: int = 0


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


def equal_pairs(digests: Sequence[bytes]) -> Iterator[Pair]:
    """Each row with the first whose pixels equal its own."""
    first: dict[bytes, int] = {}
    for i, each in enumerate(digests):
        if (before := first.setdefault(each, i)) != i:
            yield Pair(before, i)


def near_pairs(
    hashes: Hashes,
    *,
    owners: NDArray[np.int64],
    kinds: NDArray[np.int64],
    progress: Callable[[int, int], None] | None = None,
) -> list[Pair]:
    """Each row with the earlier one that is most like it, if within reach; also flipped.

    All pairs are compared, in blocks. A row of another kind goes before nearer ones of its own.

    Args:
        hashes: of all rows.
        owners: rows of one owner are not compared: neighbouring slices are alike.
        kinds: what it would be bad to have copies across, such as the sides of a split.
        progress: told (rows done, rows in all).
    """
    found: list[Pair] = []
    for start in range(0, len(hashes), _LATER):
        stop = min(start + _LATER, len(hashes))
        best: dict[int, tuple[int, Pair]] = {}
        for before in range(0, stop, _EARLIER):
            earlier = slice(before, min(before + _EARLIER, stop))
            for rank, pair in _nearest(hashes, slice(start, stop), earlier, owners, kinds):
                if rank < best.get(pair.second, (rank + 1, pair))[0]:
                    best[pair.second] = rank, pair
        found += [pair for _, (_, pair) in sorted(best.items())]
        if progress:
            progress(stop, len(hashes))
    return found


def _nearest(
    hashes: Hashes,
    later: slice,
    earlier: slice,
    owners: NDArray[np.int64],
    kinds: NDArray[np.int64],
) -> Iterator[tuple[int, Pair]]:
    """For each later row the best of some earlier ones, and its rank: less is better."""
    one = hashes[later].transpose(1, 0, 2).astype(np.float32)
    other = hashes[earlier].transpose(1, 2, 0).astype(np.float32)
    agreed = np.tensordot(_TURNS, one @ other, axes=1)  # bits that agree less those that differ
    view, row, column = np.nonzero(agreed >= BITS - 2 * REACH)
    second, first = row + later.start, column + earlier.start
    bits = (BITS - agreed[view, row, column]).astype(np.int64) // 2
    rank = bits + BITS * (kinds[first] == kinds[second])
    order = np.lexsort((first, rank, second))
    order = order[((first < second) & (owners[first] != owners[second]))[order]]
    _, at = np.unique(second[order], return_index=True)
    for i in order[at]:
        yield int(rank[i]), Pair(int(first[i]), int(second[i]), int(bits[i]), int(view[i]))


@lru_cache(maxsize=4)
def _waves(side: int) -> NDArray[np.float32]:
    """The lowest frequencies along a side, (16, side); their products have means over pixels."""
    places = (np.arange(side) + 0.5) / side
    waves: NDArray[Any] = np.cos(np.pi * np.arange(SIDE)[:, None] * places) / side
    return waves.astype(np.float32)
