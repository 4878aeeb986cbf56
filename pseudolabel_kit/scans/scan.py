"""Volumes as studies: one file, or the slices of a DICOM series, with masks beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from pseudolabel_kit.data.fit import SMALLEST
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.geometry import Geometry, Grid
from pseudolabel_kit.scans.series import read_series
from pseudolabel_kit.scans.study import FileStudy, Settings, Slices, Study
from pseudolabel_kit.scans.volumes import MOST, labels, oriented, read_volume
from pseudolabel_kit.scans.window import GREY, PERCENTILE, Wanted, Window

CLOSE = 0.1  # voxels that two grids may be apart and still be one
Marks: TypeAlias = Callable[[NDArray[Any]], NDArray[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class Scan(FileStudy):
    """A volume in a file, of HU or of grey values from 0 to 255.

    Attributes:
        modality: "CT", or another, whose values are no HU.
    """

    modality: str = "CT"

    def slices(self, settings: Settings) -> Slices:
        """Read all files and cut them alike."""
        if self.modality.upper() != "CT" and isinstance(settings.window, Window):
            raise DataError(
                f"{self.said(self.image)}: is of modality {self.modality}, which has no HU; "
                f"expected CT, or --window {PERCENTILE}"
            )
        image = read_volume(self.image, self.said(self.image))
        mask = self._beside(self.masks, Grid.of(image), settings.is_lesion)
        region = self._beside(filter(None, [self.region]), Grid.of(image), any_value)
        window = window_of(image, settings.window)
        return cut(image, settings, window, self.said(self.image), mask, region)

    def _beside(self, paths: Iterable[Path], grid: Grid, marks: Marks) -> sitk.Image | None:
        """What any mask marks, as 0 and 1."""
        read = [read_mask(path, self.said(path), grid, marks) for path in paths]
        marked = [sitk.GetArrayFromImage(mask) for mask in read]
        return grid.place(sitk.GetImageFromArray(np.maximum.reduce(marked))) if marked else None


@dataclass(frozen=True, kw_only=True)
class Series(Study):
    """A DICOM series, a file a slice.

    Attributes:
        said: how errors call it; holds no name of a patient.
        paths: its files, in any order.
    """

    said: str
    paths: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The slices."""
        return self.paths

    def slices(self, settings: Settings) -> Slices:
        """Put the slices in order and cut the volume that they are."""
        image = read_series(self.paths, self.said)
        window = settings.window.of(sitk.GetArrayViewFromImage(image))
        return cut(image, settings, window, self.said)


def read_mask(path: Path, said: str, grid: Grid, marks: Marks) -> sitk.Image:
    """A mask of 0 and 1; what it marks is told before anything is resampled.

    Raises:
        DataError: it is no mask, or lies on another grid.
    """
    mask = read_volume(path, said)
    if not grid.farthest(Grid.of(mask)) <= CLOSE:
        raise DataError(
            f"{said}: {_told(Grid.of(mask))}, another grid than the {_told(grid)} of its image"
        )
    marked = marks(labels(mask, said))
    return Grid.of(mask).place(sitk.GetImageFromArray(marked.astype(np.uint8)))


def any_value(values: NDArray[Any]) -> NDArray[np.bool_]:
    """What is marked where every value but 0 counts."""
    marked: NDArray[np.bool_] = values != 0
    return marked


def cut(
    image: sitk.Image,
    settings: Settings,
    window: Window,
    said: str,
    mask: sitk.Image | None = None,
    region: sitk.Image | None = None,
) -> Slices:
    """Axial slices of a volume, and of the masks of 0 and 1 on its grid.

    Raises:
        DataError: by its spacing it is too large or too small to be resampled.
    """
    geometry = Geometry.plan(Grid.of(image), spacing=settings.spacing, side=settings.size)
    size = geometry.resampled.size
    if math.prod(size) > MOST or min(size[:2]) < SMALLEST:
        raise DataError(
            f"{said}: {_told(geometry.source)} become {'x'.join(map(str, size))}; expected "
            f"{SMALLEST} or more a side and {MOST} in all: is its spacing in mm?"
        )
    lesions, thin = (None, 0) if mask is None else geometry.lesion_slices(mask)
    return Slices(
        images=window.grey(geometry.image_slices(image, window.black), settings.bits),
        masks=None if lesions is None else lesions != 0,
        regions=None if region is None else geometry.mask_slices(region) != 0,
        oriented=oriented(image),
        facts={
            "window": asdict(window),
            "hu": window == settings.window,
            "geometry": geometry.to_json(),
            "thin": thin,
        },
    )


def window_of(image: sitk.Image, wanted: Wanted) -> Window:
    """The window wanted, or that of all grey where no value can be air in HU.

    Archives mix scans in HU with scans that were windowed to 0..255 before: the air around a
    patient is below 0 in the first alone.
    """
    values = sitk.GetArrayViewFromImage(image)
    grey = isinstance(wanted, Window) and values.min() >= 0 and values.max() <= 255
    return GREY if grey else wanted.of(values)


def _told(grid: Grid) -> str:
    size, spacing = ("x".join(f"{v:.4g}" for v in each) for each in (grid.size, grid.spacing))
    start = ", ".join(f"{v:.4g}" for v in grid.origin)
    return f"{size} voxels of {spacing} mm from ({start})"
