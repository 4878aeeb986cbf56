"""What of a plugin's rows and samples is not as the contract says, in words."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import get_args

import numpy as np

from pseudolabel_kit.interfaces import Row, Sample, Split


def unfit_rows(rows: Sequence[object], classes: int) -> str | None:
    """What is wrong with the first row that is not sound; None where all are."""
    first: dict[str, int] = {}
    for index, row in enumerate(rows):
        if not isinstance(row, Row):
            return f"row {index}: a {type(row).__name__}, expected a Row"
        if not isinstance(row.name, str):
            return f"row {index} with name {row.name!r}: expected a text"
        if problem := _unfit(row, classes):
            return f"row {index} ('{row.name}') with {problem}"
        if (other := first.setdefault(row.name, index)) != index:
            return f"row {index} ('{row.name}') the name of row {other}: expected one of its own"
    return None


def unfit_sample(row: Row, sample: object) -> str | None:
    """What is wrong with the pixels of a row; None where they are sound."""
    if not isinstance(sample, Sample):
        return f"a {type(sample).__name__}: expected a Sample"
    return (
        _unfit_image(sample.image)
        or _unfit_plane("mask", row.has_mask, sample.mask, sample.image.shape)
        or _unfit_plane("region", row.has_region, sample.region, sample.image.shape)
    )


def _unfit(row: Row, classes: int) -> str | None:
    label, patient, split = row.label, row.patient, row.split
    if label is not None and not (isinstance(label, Integral) and 0 <= label < classes):
        return f"label {label!r}: expected an index into {classes} classes"
    if patient is not None and not isinstance(patient, str):
        return f"patient {patient!r}: expected a text, or None"
    if split is not None and split not in get_args(Split):
        return f"split {split!r}: expected one of {', '.join(get_args(Split))}"
    return None


def _unfit_image(image: object) -> str | None:
    if not isinstance(image, np.ndarray):
        return f"image as a {type(image).__name__}: expected an array"
    if image.ndim != 3 or image.size == 0:
        return f"an image of shape {image.shape}: expected pixels (C,H,W)"
    if image.dtype != np.float32:
        return f"an image of {image.dtype}: expected float32"
    if not np.isfinite(image).all():
        return "an image with NaN or infinite pixels"
    if image.min() < 0 or image.max() > 1:
        return f"an image with pixels in [{image.min():.3g}, {image.max():.3g}]: expected [0, 1]"
    return None


def _unfit_plane(what: str, promised: bool, plane: object, image: tuple[int, ...]) -> str | None:
    if plane is None:
        return f"no {what}: its row says has_{what}" if promised else None
    if not promised:
        return f"a {what}: its row does not say has_{what}"
    if not isinstance(plane, np.ndarray):
        return f"{what} as a {type(plane).__name__}: expected an array"
    channels = "1" if what == "region" else "K"
    if plane.dtype != np.bool_ or plane.ndim != 3 or (channels == "1" and len(plane) != 1):
        return f"a {what} of {plane.dtype} {plane.shape}: expected bool ({channels},H,W)"
    if plane.shape[1:] != image[1:]:
        return f"a {what} of {_size(plane.shape)}: expected the {_size(image)} of its image"
    return None


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[-1]}x{shape[-2]} px"
