"""Where the lungs of a scan are, on its slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.scans.geometry import Geometry
from pseudolabel_kit.scans.scan import any_value, read_mask
from pseudolabel_kit.scans.study import Slices


def lung_slices(slices: Slices, file: Path | None) -> NDArray[np.bool_] | None:
    """The lungs (D,H,W) by a mask in a file, or else by the one beside the scan; None without.

    Raises:
        DataError: the file is no mask on the scan's grid.
    """
    if file is None:
        return slices.regions
    geometry = Geometry.from_json(slices.facts["geometry"])
    mask = read_mask(file, str(file), geometry.source, any_value)
    return any_value(geometry.mask_slices(mask))
