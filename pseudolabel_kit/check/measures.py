"""What is read of every row's pixels, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

from pseudolabel_kit.data.hashing import Hashes, digest, hashed
from pseudolabel_kit.data.store import Store
from pseudolabel_kit.interfaces import Batch

CHUNK = 64  # rows in memory at a time
SPECK = 1e-4  # share of the image; 5 px of 224 x 224
Told = Callable[[str, int, int], None]
Figures = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Figures along the rows; NaN where a row has nothing to measure.

    Attributes:
        digests: of the images' pixels.
        hashes: of what the images show.
        mean: grey, from 0 to 1.
        spread: its standard deviation.
        lesion: share of the image that its mask covers.
        outside: share of the mask that lies outside the region.
        specks: connected parts of the mask below 1/10,000 of the image.
    """

    digests: list[bytes]
    hashes: Hashes
    mean: Figures
    spread: Figures
    lesion: Figures
    outside: Figures
    specks: Figures


def measure(store: Store, told: Told) -> Measures:
    """Read every row, a few at a time, with all of its truth.

    Args:
        store: the decoded dataset.
        told: called with (what is done, rows done, rows in all).
    """
    count = len(store.rows)
    digests: list[bytes] = []
    hashes, figures = [], []
    for batch in store.subset(range(count)).batches(CHUNK):
        here = store.rows[len(digests) : len(digests) + len(batch.image)]
        known = np.array([[row.has_mask, row.has_region] for row in here])
        figures.append(_figures(batch, masked=known[:, 0], regioned=known[:, 1]))
        images = batch.image.numpy()
        digests += map(digest, images)
        hashes.append(hashed(images))
        told("reading images", len(digests), count)
    mean, spread, lesion, outside, specks = np.concatenate(figures, axis=1)
    return Measures(
        digests=digests,
        hashes=np.concatenate(hashes),
        mean=mean,
        spread=spread,
        lesion=lesion,
        outside=outside,
        specks=specks,
    )


def _figures(batch: Batch, masked: NDArray[np.bool_], regioned: NDArray[np.bool_]) -> Figures:
    """The figures of a few rows, (5,B)."""
    images = batch.image.numpy()
    masks: NDArray[np.bool_] = np.any(batch.mask.numpy(), axis=1)
    area = masks.sum(axis=(1, 2))
    outside = np.full(len(masks), np.nan)
    if batch.region is not None:
        beyond = (masks & (batch.region.numpy()[:, 0] == 0)).sum(axis=(1, 2))
        judged = masked & regioned & (area > 0)
        outside[judged] = beyond[judged] / area[judged]
    specks = [_specks(mask) if known else np.nan for mask, known in zip(masks, masked, strict=True)]
    return np.stack(
        [
            np.array([image.mean(dtype=np.float64) for image in images]),
            np.array([image.std(dtype=np.float64) for image in images]),
            np.where(masked, area / masks[0].size, np.nan),
            outside,
            np.array(specks, dtype=np.float64),
        ]
    )


def _specks(mask: NDArray[np.bool_]) -> int:
    parts, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(parts.ravel())[1:]
    return int((sizes < SPECK * mask.size).sum())
