"""Lungs in axial slices: the air inside a body, with what lies in it or touches the ribs.

The rows of a slice run from front to back or from back to front; left and right may be either.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]
from scipy.spatial import ConvexHull  # type: ignore[import-untyped]
from skimage.filters import threshold_otsu
from skimage.morphology import isotropic_closing

Mask = NDArray[np.bool_]

EDGE = 0.6  # of the way from air to tissue: where experts draw the border
LEAST = 0.005  # share of the slice that its largest lung covers
SMALL = 0.01  # of the larger lung: noise and bowel are smaller than this
ROUND = 1.5  # times the square root of its area that a lung may lie along the slice's border
LARGE = 0.3  # of the larger lung: the windpipe is smaller than this
DARKER = 0.05  # of the way from air to tissue: the windpipe is at least so much below the lungs
VESSEL = 0.02  # of the slice's longer side: closed are gaps up to twice as wide
SOLID = 0.05  # share of the slice: what lies in a lung and is larger is liver or heart
CUT = 0.5  # times the square root of its area that a lesion may lack a lung beside it


def lungs(slices: NDArray[Any]) -> Mask:
    """The lungs of grey slices, each by itself; its threshold lies above Otsu's two means.

    >>> slice_ = np.full((1, 64, 64), 200)
    >>> slice_[0, 16:48, 8:28] = slice_[0, 16:48, 36:56] = 40
    >>> slice_[0, 30, 10:20] = 200  # a vessel
    >>> int(lungs(slice_).sum()) == 2 * 32 * 20
    True

    Args:
        slices: (N,H,W) grey of any scale; air is dark. Each may be a crop to the lungs.

    Returns:
        (N,H,W); a slice without lungs is empty.
    """
    return np.array(list(map(_lungs_of, slices)), dtype=np.bool_).reshape(slices.shape)


def _lungs_of(grey: NDArray[Any]) -> Mask:
    dark = grey <= threshold_otsu(grey)
    if dark.all():
        return np.zeros_like(dark)
    air, tissue = float(grey[dark].mean()), float(grey[~dark].mean())
    inner = inner_air(grey <= air + EDGE * (tissue - air))
    parts, area = _parts(inner)
    if area.max() < LEAST * grey.size:
        return np.zeros_like(dark)
    large = LARGE * area.max()
    lumen = np.median(grey[(area > large)[parts]]) - DARKER * (tissue - air)
    inner = without_airways(grey, inner, area=large, lumen=lumen)
    return filled(inner & (area >= SMALL * area.max())[parts])


def inner_air(air: Mask) -> Mask:
    """The air of a slice (H,W) that is not around the body.

    Air around it holds a corner or lies along the border for long: lungs may touch that too,
    where the slice is a crop.
    """
    parts, area = _parts(air)
    border = np.concatenate([parts[0], parts[-1], parts[1:-1, 0], parts[1:-1, -1]])
    outside = np.bincount(border, minlength=len(area)) > ROUND * np.sqrt(area)
    outside[parts[[0, 0, -1, -1], [0, -1, 0, -1]]] = True
    outside[0] = True  # no air at all
    inner: Mask = ~outside[parts]
    return inner


def without_airways(grey: NDArray[Any], air: Mask, *, area: float, lumen: float) -> Mask:
    """The air of a slice (H,W) without parts up to an area (pixels) that are as dark as air alone.

    Lungs hold tissue too, so that they are lighter; `lumen` is the value between the two.
    """
    parts, areas = _parts(air)
    small = [part for part in range(1, len(areas)) if areas[part] <= area]
    medians = ndimage.median(grey, parts, small) if small else []
    dark = [part for part, median in zip(small, medians, strict=True) if median < lumen]
    kept: Mask = air & ~np.isin(parts, dark)
    return kept


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
    left, right = _outer(air[:, :middle]), _outer(air[:, middle:][:, ::-1])
    pockets = np.concatenate([left.full, right.full[:, ::-1]], axis=1) & ~air
    beyond = np.concatenate([left.beyond, right.beyond[:, ::-1]], axis=1)
    beside = ndimage.binary_dilation(beyond, np.array([[1], [1], [1]]))
    parts, area = _parts(pockets)
    cut = np.bincount(parts[beside], minlength=len(area)) > CUT * np.sqrt(area)
    whole = air | (~cut & _as_small_as_lesions(area, air))[parts]
    holes, area = _parts(ndimage.binary_fill_holes(whole) & ~whole)
    lungs: Mask = whole | _as_small_as_lesions(area, air)[holes]
    return lungs


class _Outer(NamedTuple):
    """A lung up to its outline (H,W), and what lies on the inner side of all its air."""

    full: Mask
    beyond: Mask


def _outer(lung: Mask) -> _Outer:
    """A lung (H,W) whose ribs are on the left, filled in each row up to its convex outline."""
    rows = np.flatnonzero(lung.any(axis=1))
    if len(rows) < 3:
        return _Outer(lung, np.zeros_like(lung))
    first = lung[rows].argmax(axis=1)
    last = lung.shape[1] - 1 - lung[rows, ::-1].argmax(axis=1)
    far = 10.0 * lung.shape[1]  # two corners, so that the hull's other side is known
    points = np.array([*zip(rows, first, strict=True), (rows[0], far), (rows[-1], far)])
    corners = np.sort(ConvexHull(points).vertices)
    corners = corners[corners < len(rows)]
    every = np.arange(rows[0], rows[-1] + 1)
    outline = np.interp(every, rows[corners], first[corners])
    innermost = np.full(len(every), -1)
    innermost[rows - rows[0]] = last
    columns = np.arange(lung.shape[1])
    full, beyond = lung.copy(), np.zeros_like(lung)
    beyond[every] = columns > innermost[:, None]
    full[every] |= (columns >= outline[:, None]) & ~beyond[every]
    return _Outer(full, beyond)


def _closed(mask: Mask, radius: float) -> Mask:
    """Closed by a disc of so many pixels; beyond the slice is nothing."""
    margin = math.ceil(radius) + 1
    wide: Mask = isotropic_closing(np.pad(mask, margin), radius)
    return wide[margin:-margin, margin:-margin]


def _as_small_as_lesions(area: NDArray[Any], of: Mask) -> Mask:
    """Which parts are; part 0 is none."""
    small: Mask = (area > 0) & (area <= SOLID * of.size)
    return small


def _parts(mask: Mask) -> tuple[NDArray[Any], NDArray[Any]]:
    """The number of each pixel's connected part (H,W), and how many pixels each has; 0 is none."""
    parts, count = ndimage.label(mask)
    area = np.bincount(parts.ravel(), minlength=count + 1)
    area[0] = 0
    return parts, area
