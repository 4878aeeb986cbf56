"""Picture files as studies: those of a folder are the slices of one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.data.fit import square
from pseudolabel_kit.data.readers import read_image
from pseudolabel_kit.engine.images import warn_of_regions
from pseudolabel_kit.viewer.stack import Slice, Stack


def stacks(images: Sequence[Path], data: DataConfig, *, padded: bool = False) -> list[Stack]:
    """One study for each folder that holds some of the images, called as the folder is.

    Args:
        data: how the run reads its data; if black outside regions, pictures should be, too.
        padded: add black until they are square, as `plk data import` does.
    """
    if images:
        warn_of_regions(data)
    folders: dict[Path, list[Path]] = {}
    for image in images:
        folders.setdefault(Path(os.path.abspath(image)).parent, []).append(image)
    ordered = {folder: sorted(paths, key=_natural) for folder, paths in folders.items()}
    return [
        Stack(name=folder.name, slices=partial(_slices, paths, padded), stamp=_stamp(paths))
        for folder, paths in ordered.items()
    ]


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Slice 8 comes before slice 10."""
    pieces = re.split(r"([0-9]+)", path.name.lower())  # texts and numbers take turns
    return [int(each) if i % 2 else each for i, each in enumerate(pieces)], path.name


def _slices(paths: Sequence[Path], padded: bool) -> tuple[int, Iterator[Slice]]:
    seen = ((path, read_image(path, str(path))) for path in paths)
    read = (Slice(image=square(i) if padded else i, title=path.stem) for path, i in seen)
    return len(paths), read


def _stamp(paths: Sequence[Path]) -> str:
    states = ((path.name, path.stat()) for path in paths)
    return repr([(name, state.st_size, state.st_mtime_ns) for name, state in states])
