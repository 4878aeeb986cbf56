"""Where voxels lie, and the way of a volume to square axial slices and back.

Coordinates are those of the patient in mm, as DICOM and SimpleITK have them: x to the left, y to
the back, z to the head. Arrays are (D,H,W), sizes and spacings (x, y, z).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from pseudolabel_kit.data.fit import resize

Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The places of a volume's voxels.

    Attributes:
        size: voxels along each axis.
        spacing: mm between two of them.
        origin: the centre of the first voxel, mm.
        direction: a 3x3 matrix by rows, whose columns are the axes' unit vectors.
    """

    size: tuple[int, int, int]
    spacing: Triple
    origin: Triple
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
        """The grid of a volume."""
        return cls(
            size=image.GetSize(),
            spacing=image.GetSpacing(),
            origin=image.GetOrigin(),
            direction=image.GetDirection(),
        )

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Grid:
        """The grid that `dataclasses.asdict` once wrote."""
        return cls(**{name: tuple(values) for name, values in facts.items()})

    def place(self, image: sitk.Image) -> sitk.Image:
        """Put a volume of this size here; it is changed and returned."""
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image

    def axial(self) -> Grid:
        """The same voxels, read so that x runs to the left, y to the back and z to the head.

        Axes are exchanged and turned round only: an oblique scan stays as oblique as it was.
        """
        empty = self.place(sitk.Image(self.size, sitk.sitkUInt8))
        return Grid.of(sitk.DICOMOrient(empty, "LPS"))

    def sampled(self, spacing: Triple) -> Grid:
        """The same box at another spacing, with as many voxels as have their centre in it."""
        x, y, z = (
            max(1, math.ceil(n * old / new - 1e-6))
            for n, old, new in zip(self.size, self.spacing, spacing, strict=True)
        )
        return self._about_centre((x, y, z), spacing)

    def square(self) -> Grid:
        """Whole voxels added evenly around each slice until it is square in mm."""
        width, height, depth = self.size
        across, down, _ = self.spacing
        side = max(width * across, height * down)
        wide, high = (math.ceil(side / s - 1e-6) for s in (across, down))
        before = np.array([(wide - width) // 2, (high - height) // 2, 0])
        origin = np.array(self.origin) - self._axes @ (before * self.spacing)
        return Grid(
            size=(wide, high, depth),
            spacing=self.spacing,
            origin=_triple(origin),
            direction=self.direction,
        )

    def resized(self, side: int) -> Grid:
        """The same box in slices of side x side pixels."""
        across, down, through = self.spacing
        spacing = (across * self.size[0] / side, down * self.size[1] / side, through)
        return self._about_centre((side, side, self.size[2]), spacing)

    def farthest(self, other: Grid) -> float:
        """How far the first or the last voxel is from the other grid's, in voxels; inf by size."""
        if self.size != other.size:
            return math.inf
        apart = [np.linalg.norm(a - b) for a, b in zip(self._ends(), other._ends(), strict=True)]
        return float(max(apart) / min(self.spacing))

    @property
    def _axes(self) -> NDArray[np.float64]:
        return np.array(self.direction).reshape(3, 3)

    def _ends(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        first = np.array(self.origin)
        return first, first + self._axes @ ((np.array(self.size) - 1) * self.spacing)

    def _about_centre(self, size: tuple[int, int, int], spacing: Triple) -> Grid:
        centre = np.mean(self._ends(), axis=0)
        origin = centre - self._axes @ ((np.array(size) - 1) * spacing / 2)
        return Grid(size=size, spacing=spacing, origin=_triple(origin), direction=self.direction)


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The grids that a volume passes on its way to slices.

    Attributes:
        source: the scan's own.
        resampled: axial, at the spacing wanted, padded to squares.
        slices: the same box in slices of the size wanted.
    """

    source: Grid
    resampled: Grid
    slices: Grid

    @classmethod
    def plan(cls, source: Grid, *, spacing: Triple, side: int) -> Geometry:
        """The way to slices of side x side pixels, by way of voxels of `spacing` mm."""
        resampled = source.axial().sampled(spacing).square()
        return cls(source=source, resampled=resampled, slices=resampled.resized(side))

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Geometry:
        """The geometry that `to_json` once wrote."""
        return cls(**{name: Grid.from_json(facts[name]) for name in cls.__dataclass_fields__})

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers."""
        return asdict(self)

    def image_slices(self, image: sitk.Image, outside: float) -> NDArray[np.float32]:
        """Grey values as slices (D,H,W): linear in space, then antialiased in the plane.

        Args:
            image: a volume on the grid `source`.
            outside: the value around it.
        """
        moved = _resample(image, self.resampled, sitk.sitkLinear, outside, sitk.sitkFloat32)
        planes: NDArray[np.float32] = sitk.GetArrayFromImage(moved)
        return resize(planes, self.slices.size[:2])

    def mask_slices(self, mask: sitk.Image) -> NDArray[np.uint8]:
        """A mask of 0 and 1, by the nearest voxel, as slices (D,H,W); 0 outside."""
        moved = _resample(mask, self.slices, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
        return np.asarray(sitk.GetArrayFromImage(moved), dtype=np.uint8)

    def lesion_slices(self, mask: sitk.Image) -> tuple[NDArray[np.uint8], int]:
        """As `mask_slices`, but no slice loses all of its lesion, and in how many it would.

        What is thinner than a pixel can lie between the centres of all. Where a slice would be
        empty for that, the pixels are marked that hold the centre of a voxel of the lesion.
        """
        planes: NDArray[np.uint8] = self.mask_slices(mask)
        axial = self.source.axial()
        voxels = sitk.GetArrayFromImage(sitk.DICOMOrient(mask, "LPS")) != 0
        start = self.slices._axes.T @ (np.array(axial.origin) - self.slices.origin)  # mm
        centres = [
            np.rint((first + np.arange(n) * step) / own).clip(0, most - 1).astype(np.intp)
            for first, n, step, own, most in zip(
                start, axial.size, axial.spacing, self.slices.spacing, self.slices.size, strict=True
            )
        ]
        heights = np.arange(len(planes)) * self.slices.spacing[2] - start[2]
        nearest = (
            np.floor(heights / axial.spacing[2] + 0.5).clip(0, len(voxels) - 1).astype(np.intp)
        )
        thin = np.flatnonzero(voxels.any(axis=(1, 2))[nearest] & ~planes.any(axis=(1, 2)))
        for k in thin:
            rows, columns = np.nonzero(voxels[nearest[k]])
            planes[k, centres[1][rows], centres[0][columns]] = 1
        return planes, len(thin)

    def back(self, slices: NDArray[Any]) -> sitk.Image:
        """Slices (D,H,W) as a volume on the grid `source`.

        Whole numbers and booleans are taken from the nearest pixel (uint8); floats, such as
        probabilities, are interpolated (float32).

        Raises:
            ValueError: the slices have another shape than the grid `slices`.
        """
        if slices.shape != self.slices.size[::-1]:
            raise ValueError(f"slices of {slices.shape}: expected {self.slices.size[::-1]}")
        continuous = slices.dtype.kind == "f"
        values = slices.astype(np.float32 if continuous else np.uint8)
        image = self.slices.place(sitk.GetImageFromArray(values))
        how = sitk.sitkLinear if continuous else sitk.sitkNearestNeighbor
        return _resample(image, self.source, how, 0, image.GetPixelID())


def _resample(image: sitk.Image, grid: Grid, how: int, outside: float, pixel: int) -> sitk.Image:
    still = sitk.Transform(3, sitk.sitkIdentity)
    places = (grid.size, still, how, grid.origin, grid.spacing, grid.direction)
    return sitk.Resample(image, *places, outside, pixel)


def _triple(values: NDArray[np.float64]) -> Triple:
    x, y, z = values.tolist()
    return x, y, z
