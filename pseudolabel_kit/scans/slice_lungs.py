"""Lungs in axial slices: the air inside a body, with what lies in it or touches the pleura.

Slices are axial, their rows from front to back or back to front: left and right may be either.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]
from scipy.spatial import ConvexHull  # type: ignore[import-untyped]
from skimage.filters import threshold_otsu
from skimage.morphology import isotropic_closing

Mask = NDArray[np.bool_]

LEAST = 0.005  # share of the slice that its largest lung covers
SMALL = 0.05  # of the larger lung: windpipe, bowel and noise are smaller than this
VESSEL = 0.02  # of the slice's side: closed are gaps up to twice as wide
SOLID = 0.05  # share of the slice: what lies in a lung and is larger is liver or heart


def lungs(slices: NDArray[Any]) -> Mask:
    """The lungs of grey slices, each by itself and by its own threshold (Otsu's).

    >>> slice_ = np.full((1, 64, 64), 200)
    >>> slice_[0, 16:48, 8:28] = slice_[0, 16:48, 36:56] = 40
    >>> slice_[0, 30, 10:20] = 200  # a vessel
    >>> int(lungs(slice_).sum()) == 2 * 32 * 20
    True

    Args:
        slices: (N,H,W) grey of any scale; air is dark.

    Returns:
        (N,H,W); a slice without lungs is empty. A slice may be a crop to the lungs.
    """
    found = [lung_slice(each <= threshold_otsu(each)) for each in slices]
    return np.array(found, dtype=np.bool_).reshape(slices.shape)


def lung_slice(air: Mask) -> Mask:
    """The lungs of one slice (H,W), of which it is known what is air."""
    parts, count = ndimage.label(inner_air(air))
    area = np.bincount(parts.ravel(), minlength=count + 1)
    area[0] = 0
    if area.max() < LEAST * air.size:
        return np.zeros_like(air)
    large = (area >= SMALL * area.max())[parts] & (parts > 0)
    return filled(large)


def inner_air(air: Mask) -> Mask:
    """The air of a slice (H,W) that is not around the body.

    Air around it holds a corner or lies along the border: in a crop, lungs touch it as well,
    but in less than the square root of their area.
    """
    parts, count = ndimage.label(air)
    area = np.bincount(parts.ravel(), minlength=count + 1)
    border = np.concatenate([parts[0], parts[-1], parts[1:-1, 0], parts[1:-1, -1]])
    outside = np.bincount(border, minlength=count + 1) > np.sqrt(area)
    outside[parts[[0, 0, -1, -1], [0, -1, 0, -1]]] = True
    outside[0] = True  # no air at all
    inner: Mask = ~outside[parts]
    return inner


def filled(air: Mask) -> Mask:
    """The lungs of a slice (H,W) with vessels and lesions, also where these touch the ribs.

    A row of a lung runs from its innermost air to the convex outline on its outer side, since
    lungs are hollow towards heart and spine alone. What is larger than a lesion is left out.
    """
    air = _closed(air, VESSEL * max(air.shape))
    columns = np.flatnonzero(air.any(axis=0))
    if not len(columns):
        return air
    middle = int(columns[0] + columns[-1] + 1) // 2
    halves = [_to_the_left(air[:, :middle]), _to_the_left(air[:, middle:][:, ::-1])[:, ::-1]]
    whole = ndimage.binary_fill_holes(np.concatenate(halves, axis=1))
    parts, _ = ndimage.label(whole & ~air)
    area = np.bincount(parts.ravel())
    lesion: Mask = (area <= SOLID * air.size)[parts] & (parts > 0)
    return air | lesion


def _to_the_left(lung: Mask) -> Mask:
    """A lung (H,W) filled in each row up to its convex outline on the left."""
    rows = np.flatnonzero(lung.any(axis=1))
    if len(rows) < 3:
        return lung
    first = lung[rows].argmax(axis=1)
    last = lung.shape[1] - 1 - lung[rows, ::-1].argmax(axis=1)
    far = 10.0 * lung.shape[1]  # two corners, so that the hull's other side is known
    points = np.array([*zip(rows, first, strict=True), (rows[0], far), (rows[-1], far)])
    corners = np.sort(ConvexHull(points).vertices)
    corners = corners[corners < len(rows)]
    outline = np.interp(rows, rows[corners], first[corners])
    columns = np.arange(lung.shape[1])
    full = lung.copy()
    full[rows] |= (columns >= outline[:, None]) & (columns <= last[:, None])
    return full


def _closed(mask: Mask, radius: float) -> Mask:
    """Closed by a disc of so many pixels; beyond the slice is nothing."""
    margin = math.ceil(radius) + 1
    wide: Mask = isotropic_closing(np.pad(mask, margin), radius)
    return wide[margin:-margin, margin:-margin]
