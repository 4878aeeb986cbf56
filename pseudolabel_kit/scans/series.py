"""DICOM series: headers of slices, their order, and what makes a series no volume.

Slices are put in order by their position along the normal, never by name or number. Lengths in
mm.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.volumes import readable, refuse_odd

UNEVEN = 0.1  # share of the usual distance that others may differ by
STRAIGHT = 0.5  # degrees that a stack may lean
CODE = re.compile(r"[A-Za-z0-9_ ]{1,16}")  # DICOM's code strings, which errors may repeat


@dataclass(frozen=True, kw_only=True)
class Header:
    """What one file says of itself.

    Attributes:
        path: the file.
        series: SeriesInstanceUID.
        patient: PatientID, or the study's UID where there is none.
        identified: whether there is a PatientID.
        modality: "CT" and others; "" where what stands there is no code.
        localiser: whether it is a survey, to plan the scan by.
        colour: whether a pixel is several numbers.
        placed: whether it says where it lies, and how.
        size: columns, rows and frames.
        spacing: of columns and rows.
        position: the centre of its first pixel.
        direction: 3x3; columns run along rows, columns, and the normal.
    """

    path: Path
    series: str
    patient: str
    identified: bool
    modality: str
    localiser: bool
    colour: bool
    placed: bool
    size: tuple[int, ...]
    spacing: tuple[float, float]
    position: NDArray[np.float64]
    direction: NDArray[np.float64]


def read_header(path: Path, said: str) -> Header:
    """The header of a DICOM image.

    Raises:
        DataError: it is damaged, or no image: a report, a structure set.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    with readable(said):
        reader.ReadImageInformation()

    def tag(key: str) -> str:
        return reader.GetMetaData(key).strip(" \0") if reader.HasMetaDataKey(key) else ""

    return Header(
        path=path,
        series=tag("0020|000e"),
        patient=tag("0010|0020") or tag("0020|000d"),
        identified=bool(tag("0010|0020")),
        modality=modality if CODE.fullmatch(modality := tag("0008|0060")) else "",
        localiser="LOCALIZER" in tag("0008|0008").upper().split("\\"),
        colour=reader.GetNumberOfComponents() != 1,
        placed=bool(tag("0020|0032") and tag("0020|0037")),
        size=reader.GetSize(),
        spacing=reader.GetSpacing()[:2],
        position=np.array(reader.GetOrigin()),
        direction=np.array(reader.GetDirection()).reshape(3, 3),
    )


def in_order(paths: Sequence[Path], said: str) -> list[Header]:
    """The headers of a series' slices, by their places along the first one's normal.

    Raises:
        DataError: as `read_header` does.
    """
    headers = [read_header(path, said) for path in paths]
    normal = headers[0].direction[:, 2]
    return sorted(headers, key=lambda header: float(header.position @ normal))


def read_series(paths: Sequence[Path], said: str) -> sitk.Image:
    """The volume of a series in HU: slope and intercept are applied.

    Raises:
        DataError: it is no evenly spaced stack of CT slices; says why.
    """
    headers = in_order(paths, said)
    _refuse_mixed(headers, said)
    normal = headers[0].direction[:, 2]
    positions = np.stack([header.position for header in headers])
    distance = _distance(positions @ normal, said)
    _refuse_tilt(positions, normal, said)
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(header.path) for header in headers])
    reader.SetOutputPixelType(sitk.sitkFloat32)  # slices may differ in slope
    with readable(said):
        image: sitk.Image = reader.Execute()
    refuse_odd(image.GetSize(), image.GetNumberOfComponentsPerPixel(), said)
    image.SetSpacing((*headers[0].spacing, distance))
    image.SetOrigin(positions[0].tolist())
    image.SetDirection(headers[0].direction.ravel().tolist())
    return image


def _refuse_mixed(headers: Sequence[Header], said: str) -> None:
    first = headers[0]
    if any(header.localiser for header in headers):
        raise DataError(f"{said}: a localiser; expected a volume")
    if odd := [header.modality for header in headers if header.modality != "CT"]:
        raise DataError(f"{said}: modality {odd[0] or 'unknown'}; expected CT")
    if any(header.colour for header in headers):
        raise DataError(f"{said}: in colour, as maps and screenshots; expected HU")
    if any(header.size[2:] != (1,) for header in headers):
        raise DataError(f"{said}: several frames in a file; expected a file a slice")
    if len(headers) < 2:
        raise DataError(f"{said}: a single slice; expected a volume")
    if not all(header.placed for header in headers):
        raise DataError(f"{said}: slices without position or orientation; expected both")
    for header in headers:
        if header.size != first.size:
            sizes = [f"{width}x{height}" for width, height, _ in (first.size, header.size)]
            raise DataError(f"{said}: mixed series: slices of {' and '.join(sizes)} px")
        if not np.allclose(header.spacing, first.spacing, rtol=1e-3):
            raise DataError(f"{said}: mixed series: pixels of different sizes")
        if not np.allclose(header.direction, first.direction, atol=1e-3):
            raise DataError(f"{said}: mixed series: slices are turned against each other")


def _distance(places: NDArray[np.float64], said: str) -> float:
    """The distance of two slices, of which all are alike."""
    gaps = np.diff(places)
    usual = float(np.median(gaps))
    at = int(np.argmin(gaps))
    if gaps[at] < max(1e-3, UNEVEN * usual):
        raise DataError(f"{said}: several slices at {places[at]:.1f} mm; expected one")
    at = int(np.argmax(gaps))
    if gaps[at] > 1.5 * usual:
        raise DataError(
            f"{said}: missing slices: {gaps[at]:.1f} mm from the one at {places[at]:.1f} mm to "
            f"the next; expected {usual:.1f} mm"
        )
    if np.abs(gaps - usual).max() > UNEVEN * usual:
        raise DataError(
            f"{said}: slices lie {gaps.min():.2f} to {gaps.max():.2f} mm apart; expected one gap"
        )
    return float(np.mean(gaps))


def _refuse_tilt(positions: NDArray[np.float64], normal: NDArray[np.float64], said: str) -> None:
    along = positions[-1] - positions[0]
    height = along @ normal
    tilt = math.degrees(math.atan2(float(np.linalg.norm(along - height * normal)), height))
    if tilt > STRAIGHT:
        raise DataError(
            f"{said}: gantry tilt: slices are shifted by {tilt:.1f}° against their normal; "
            "expected a straight stack"
        )
