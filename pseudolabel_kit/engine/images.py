"""Image files for a trained run: found, named, and read as its training data were."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.data.fit import check_side, resize, square
from pseudolabel_kit.data.readers import read_image
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.interfaces import Task

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")

Pixels = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """One image, as it is drawn and as the network sees it.

    Attributes:
        path: where it was read from.
        grey: (h,w) in [0, 1], in its own size; the mean of the channels.
        fitted: (C,H,W) in [0, 1], with the channels and the size of the run.
        padded: whether black was added until it was square, before it was fitted.
    """

    path: Path
    grey: Pixels
    fitted: Pixels
    padded: bool = False


def find_images(paths: Iterable[Path], *, skip: Path) -> list[Path]:
    """The files named, and the images in the folders named and below them, each once.

    Hidden files, and what a folder holds under `skip` (where predictions go), are left out.

    Raises:
        DataError: a file or folder is missing, or a folder holds no image.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: there is no such file or folder")
        inside = sorted(_inside(path, skip)) if path.is_dir() else [path]
        if not inside:
            raise DataError(f"{path}: holds no image; expected {', '.join(SUFFIXES)} files")
        for image in inside:
            found.setdefault(os.path.abspath(image), image)
    return list(found.values())


def output_names(images: Sequence[Path]) -> list[str]:
    """What outputs are called: each path below the folder that holds all, without its suffix.

    Where two images would share a name, as x.png and x.jpg, all keep their suffixes.

    >>> output_names([Path("scans/a/x.png"), Path("scans/b/x.png")])
    ['a/x', 'b/x']
    >>> output_names([Path("scans/x.png"), Path("scans/x.jpg")])
    ['x.png', 'x.jpg']
    """
    whole = [Path(os.path.abspath(image)) for image in images]
    top = os.path.commonpath([path.parent for path in whole])
    below = [path.relative_to(top) for path in whole]
    bare = [path.with_suffix("") for path in below]
    return [path.as_posix() for path in (bare if len(set(bare)) == len(bare) else below)]


def open_image(path: Path, task: Task, *, padded: bool = False) -> ImageFile:
    """Read an image and fit it to a run; `padded` as for `fit_image`.

    Raises:
        DataError: it cannot be read, or does not suit the run.
    """
    _require_picture(path)
    return fit_image(path, read_image(path, str(path)), task, padded=padded)


def fit_image(path: Path, pixels: Pixels, task: Task, *, padded: bool = False) -> ImageFile:
    """Fit an image (C,h,w) to a run, with the weights that resized its training data.

    Args:
        padded: add black until it is square, as `plk data import` does; else it is stretched.

    Raises:
        DataError: it is too small to be enlarged, or is in colour while the
            run knows only grey.
    """
    check_side(str(path), pixels.shape, task.size)
    seen = square(pixels) if padded else pixels
    return ImageFile(
        path=path,
        grey=pixels.mean(axis=0),
        fitted=fitted(seen, task, str(path)),
        padded=padded,
    )


def fitted(pixels: Pixels, task: Task, where: str) -> Pixels:
    """An image (C,h,w) in [0, 1] as a run sees it, (C,H,W); `where` begins errors.

    Raises:
        DataError: as `open_image`.
    """
    check_side(where, pixels.shape, task.size)
    return np.clip(resize(_channels(where, pixels, task.channels), task.size), 0, 1)


def warn_of_regions(data: DataConfig) -> None:
    """Warn where a run expects images that are black outside their region."""
    if data.region == "black":
        warnings.warn(
            "the run was trained on images that are black outside their region "
            "(data.region = black); expected such images here too",
            stacklevel=3,
        )


def _require_picture(path: Path) -> None:
    if not path.exists():
        raise DataError(f"{path}: there is no such file")
    if path.is_dir():
        raise DataError(
            f"{path}: is a folder; expected one image, or plk predict RUN {path} --out DIR"
        )
    if path.suffix.lower() not in SUFFIXES and _is_scan(path):
        raise DataError(
            f"{path}: is a scan, not a picture; expected plk predict RUN {path} --out DIR"
        )


def _is_scan(path: Path) -> bool:
    from pseudolabel_kit.scans.layouts.dicom import is_dicom
    from pseudolabel_kit.scans.volumes import SUFFIXES as VOLUMES

    return path.name.lower().endswith(VOLUMES) or is_dicom(path)


def _channels(where: str, pixels: Pixels, expected: int) -> Pixels:
    if len(pixels) == expected:
        return pixels
    if len(pixels) == 1:
        return np.repeat(pixels, expected, axis=0)
    if expected == 1 and (pixels == pixels[:1]).all():
        return pixels[:1]
    known = "grey images" if expected == 1 else f"images of {expected} channels"
    raise DataError(
        f"{where} is in colour, but the run was trained on {known}; expected such a one"
    )


def _inside(folder: Path, skip: Path) -> Iterator[Path]:
    skipped = skip.resolve()
    for path in folder.rglob("*"):
        wanted = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        if wanted and path.is_file() and skipped not in path.resolve().parents:
            yield path
