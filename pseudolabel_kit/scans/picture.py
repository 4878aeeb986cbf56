"""Pictures as studies of one slice, with masks beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pseudolabel_kit.data.fit import check_side, resize, square
from pseudolabel_kit.data.readers import read_image, read_mask
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.study import FileStudy, Settings, Slices

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class Picture(FileStudy):
    """A picture in a file, grey or in colour: no HU, no window, no mm.

    Mask and region hold 0 and one other value.
    """

    def slices(self, settings: Settings) -> Slices:
        """Read all files and pad and resize them alike; colour is stored in 8 bits."""
        said = self.said(self.image)
        pixels = read_image(self.image, said)
        size, side = pixels.shape[1:], (settings.size, settings.size)
        check_side(said, pixels.shape, side)
        mask = self.lesions(size)
        region = self._plane(self.region, size) if self.region else None
        lesion, thin = (None, False) if mask is None else _lesion(square(mask), settings.size)
        return Slices(
            images=_stored(np.clip(resize(square(pixels), side), 0, 1), settings.bits)[None],
            masks=None if lesion is None else lesion[None],
            regions=None if region is None else _nearest(square(region), settings.size)[None],
            facts={"size": size[::-1], "thin": int(thin)},
        )

    def lesions(self, size: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """What any mask marks (H,W), or None where there is none.

        Raises:
            DataError: one is no mask, or of another size.
        """
        planes = [self._plane(path, size) for path in self.masks]
        return np.logical_or.reduce(planes) if planes else None

    def _plane(self, path: Path, size: tuple[int, ...]) -> NDArray[np.bool_]:
        plane: NDArray[np.bool_] = read_mask(path, self.said(path))[0]
        if plane.shape != size:
            (height, width), (expected_height, expected_width) = plane.shape, size
            raise DataError(
                f"{self.said(path)}: {width}x{height} px; expected the "
                f"{expected_width}x{expected_height} px of its image"
            )
        return plane


def _stored(pixels: NDArray[np.float32], bits: int) -> NDArray[Any]:
    """Pixels (C,H,W) as (H,W) grey, or as (H,W,3) where channels differ."""
    grey = bool((pixels == pixels[:1]).all())
    deep = grey and bits == 16
    levels: NDArray[Any] = np.rint(pixels * (65535 if deep else 255))
    stored = levels.astype(np.uint16 if deep else np.uint8)
    return stored[0] if grey else np.moveaxis(stored, 0, -1)


def _lesion(plane: NDArray[np.bool_], side: int) -> tuple[NDArray[np.bool_], bool]:
    """A mask resized; every pixel that it touches, where it would be lost, and whether it would."""
    resized = _nearest(plane, side)
    thin = bool(plane.any() and not resized.any())
    if thin:
        resized = np.zeros_like(resized)
        rows, columns = np.nonzero(plane)
        resized[rows * side // len(plane), columns * side // len(plane)] = True
    return resized, thin


def _nearest(plane: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    resized = Image.fromarray(plane).resize((side, side), Image.Resampling.NEAREST)
    return np.asarray(resized, dtype=np.bool_)
