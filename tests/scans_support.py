"""Scans for the tests of `pseudolabel_kit.scans`: a chest phantom in HU, written as archives do."""

from __future__ import annotations

import contextlib
import locale
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

Size = tuple[int, int, int]


class Chest(NamedTuple):
    """A phantom: HU, lungs (1 left, 2 right) and infection, on one grid."""

    image: sitk.Image
    lungs: sitk.Image
    infection: sitk.Image


def chest(
    size: Size = (24, 20, 8), spacing: Sequence[float] = (8.0, 8.0, 10.0), seed: int = 0
) -> Chest:
    """A body of soft tissue in air, two lungs, and an infection in the lower half of one."""
    width, height, depth = size
    z, y, x = np.meshgrid(
        np.linspace(0, 1, depth), np.linspace(-1, 1, height), np.linspace(-1, 1, width),
        indexing="ij",
    )  # fmt: skip
    body = (x / 0.95) ** 2 + (y / 0.85) ** 2 < 1
    lungs = np.zeros(body.shape, np.uint8)
    for value, side in ((1, 1), (2, -1)):
        lungs[((x - side * 0.45) / 0.32) ** 2 + (y / 0.6) ** 2 < 1] = value
    infection = (lungs == 1) & ((x - 0.45) ** 2 + (y - 0.2) ** 2 < 0.05) & (z < 0.5)
    hu = np.where(body, 40.0, -1000.0)
    hu[lungs > 0] = -850
    hu[infection] = -300
    hu += np.random.default_rng(seed).normal(0, 10, hu.shape)
    arrays = (np.rint(hu).astype(np.int16), lungs, infection.astype(np.uint8))
    return Chest(*(placed(array, spacing) for array in arrays))


def placed(array: np.ndarray, spacing: Sequence[float] = (1, 1, 1)) -> sitk.Image:
    """An array (D,H,W) as a volume."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((-90.0, -80.0, 100.0))
    return image


def write(image: sitk.Image, *paths: Path) -> None:
    """The same volume to several files."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(path))


def write_covid(
    folder: Path,
    *cases: str,
    size: Size = (24, 20, 8),
    spacing: Sequence[float] = (8.0, 8.0, 10.0),
) -> Path:
    """The folders of COVID-19-CT-Seg."""
    for seed, case in enumerate(cases):
        image, lungs, infection = chest(size, spacing, seed)
        write(image, folder / "COVID-19-CT-Seg_20cases" / f"{case}.nii.gz")
        write(lungs, folder / "Lung_Mask" / f"{case}.nii.gz")
        write(infection, folder / "Infection_Mask" / f"{case}.nii.gz")
        write(lungs + infection, folder / "Lung_and_Infection_Mask" / f"{case}.nii.gz")
    return folder


@contextlib.contextmanager
def own_locale() -> Iterator[None]:
    """What writes DICOM leaves the locale "C" behind, in which text is ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


def write_series(
    folder: Path,
    image: sitk.Image,
    *,
    uid: str = "1.2.826.1",
    patient: str = "MRN4711",  # no number or hash holds it by chance
    tags: Mapping[str, str] | None = None,
    slices: Sequence[int] | None = None,
    shear: float = 0,
    first: int = 0,
) -> list[Path]:
    """A volume of HU as DICOM slices whose names say nothing of their order.

    Args:
        tags: "gggg|eeee" to text, over the usual ones.
        slices: which of them are written; all by default.
        shear: mm that each slice is shifted by against the one below.
        first: number of the first file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    x, y = (np.array(image.GetDirection()).reshape(3, 3)[:, i] for i in (0, 1))
    written = []
    depth = image.GetSize()[2]
    for i in range(depth) if slices is None else slices:
        plane = image[:, :, i]  # the writer undoes slope and intercept
        position = np.array(image.TransformIndexToPhysicalPoint((0, 0, i))) + y * shear * i
        facts = {
            "0008|0060": "CT",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{uid}.{i}.{first}",
            "0020|000d": "1.2.826.9",
            "0020|000e": uid,
            "0020|0052": "1.2.826.5",
            "0010|0010": "Doe^Jane",
            "0010|0020": patient,
            "0010|0030": "19610203",
            "0020|0032": "\\".join(f"{v:.6f}" for v in position),
            "0020|0037": "\\".join(f"{v:.8f}" for v in (*x, *y)),
            "0018|0050": f"{image.GetSpacing()[2]:g}",
            "0028|1052": "-1024",
            "0028|1053": "1",
            **(tags or {}),
        }
        for key, value in facts.items():
            plane.SetMetaData(key, value)
        path = folder / f"IM{(i * 7 + 3) % depth + first:04d}.dcm"
        writer.SetFileName(str(path))
        with own_locale():
            writer.Execute(plane)
        written.append(path)
    return written
