"""Lungs in a CT volume of Hounsfield units, without a model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

from pseudolabel_kit.scans.geometry import Triple
from pseudolabel_kit.scans.slice_lungs import Mask, filled, inner_air, without_airways
from pseudolabel_kit.scans.window import Window

AIR = -320.0  # HU, between lung and tissue
LUMEN = -930.0  # HU: the windpipe holds air alone, the lungs tissue too
WINDPIPE = 800.0  # mm^2 that windpipe or bronchi cover of a slice, at most
LEAST = 100.0  # ml of the larger lung
SECOND = 0.1  # of the larger lung: less is no lung but stomach or bowel


def lung_mask(volume: NDArray[Any], spacing: Triple, air: float = AIR) -> Mask:
    """The lungs of a scan, with vessels and lesions in them, without the windpipe.

    Args:
        volume: (D,H,W) HU, axial slices.
        spacing: mm between voxels (x, y, z).
        air: HU below which a voxel is air.

    Returns:
        (D,H,W); empty where there is no lung of 100 ml.
    """
    x, y, z = spacing
    windpipe = WINDPIPE / (x * y)
    inside = np.stack(
        [
            without_airways(plane, inner_air(plane < air), area=windpipe, lumen=LUMEN)
            for plane in volume
        ]
    )
    parts, count = ndimage.label(inside)
    size = np.bincount(parts.ravel(), minlength=count + 1)
    size[0] = 0
    first, second = ([0, *np.argsort(size, kind="stable")])[:-3:-1]
    if size[first] * x * y * z < LEAST * 1000:
        return np.zeros_like(inside)
    lungs = [first, second] if size[second] >= SECOND * size[first] else [first]
    chosen = np.isin(np.arange(count + 1), lungs)[parts]
    return np.stack([filled(plane) for plane in chosen])


def shown_lungs(grey: NDArray[np.floating[Any]], window: Window, spacing: Triple) -> Mask:
    """The lungs of a scan that is shown in a window of HU; see `lung_mask`.

    Args:
        grey: (D,H,W) in [0, 1].
        window: what of the HU that shows.
        spacing: mm between pixels and slices (x, y, z).
    """
    hu = window.black + grey * window.width
    darkest = window.black + window.width / 100  # what is below it was clipped to black
    return lung_mask(hu, spacing, air=max(AIR, darkest))
