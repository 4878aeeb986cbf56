"""Picture files as studies: those of a folder are the slices of one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pseudolabel_kit.data.fit import square
from pseudolabel_kit.data.readers import read_image
from pseudolabel_kit.viewer.stack import Slice, Stack


def stacks(images: Sequence[Path], *, padded: bool = False) -> list[Stack]:
    """One study for each folder that holds some of the images, called as the folder is.

    Args:
        padded: add black until they are square, as `plk data import` does.
    """
    folders: dict[Path, list[Path]] = {}
    for image in images:
        folders.setdefault(Path(os.path.abspath(image)).parent, []).append(image)
    return [
        Stack(
            name=folder.name,
            slices=partial(_slices, paths, padded),
            stamp=_stamp(paths),
        )
        for folder, paths in folders.items()
    ]


def _slices(paths: Sequence[Path], padded: bool) -> tuple[int, Iterator[Slice]]:
    seen = ((path, read_image(path, str(path))) for path in paths)
    read = (Slice(image=square(i) if padded else i, title=path.stem) for path, i in seen)
    return len(paths), read


def _stamp(paths: Sequence[Path]) -> str:
    states = ((path.name, path.stat()) for path in paths)
    return repr([(name, state.st_size, state.st_mtime_ns) for name, state in states])
