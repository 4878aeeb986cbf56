"""Where the lungs of a scan are, on its slices."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.geometry import Geometry
from pseudolabel_kit.scans.lungs import shown_lungs
from pseudolabel_kit.scans.scan import any_value, read_mask
from pseudolabel_kit.scans.study import Slices
from pseudolabel_kit.scans.window import Window


class Lungs(NamedTuple):
    """The lungs of a scan.

    Attributes:
        mask: (D,H,W).
        by: "mask", of somebody who drew it, or "threshold", which took none.
    """

    mask: NDArray[np.bool_]
    by: str


def lungs_of(slices: Slices, file: Path | None) -> Lungs | None:
    """The lungs by a mask in a file, or by the one beside the scan, or else by threshold.

    None where there is no mask and the scan has no HU, or no lungs in it.

    Raises:
        DataError: the file is no mask on the scan's grid.
    """
    geometry = Geometry.from_json(slices.facts["geometry"])
    if file is not None:
        mask = read_mask(file, str(file), geometry.source, any_value)
        return Lungs(any_value(geometry.mask_slices(mask)), "mask")
    if slices.regions is not None:
        return Lungs(slices.regions, "mask")
    if not slices.facts["hu"]:
        return None
    found = shown_lungs(
        grey(slices.images), Window(**slices.facts["window"]), geometry.slices.spacing
    )
    return Lungs(found, "threshold") if found.any() else None


def grey(images: NDArray[Any], lungs: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """Slices of 8 or 16 bits (D,H,W) in [0, 1], black outside the lungs (D,H,W) if given."""
    shown: NDArray[np.float32] = images.astype(np.float32) / np.float32(np.iinfo(images.dtype).max)
    return shown if lungs is None else shown * lungs


def no_lungs(said: str, remedy: str) -> DataError:
    """Of a scan in which a run that saw lungs alone would be shown what it never saw."""
    return DataError(
        f"{said}: no lungs found, and the run was trained on these alone (data.region = black); "
        f"{remedy}"
    )
