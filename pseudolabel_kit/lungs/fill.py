"""Writes regions and fills them into a manifest: all of them, or none.

.lungs.part/STAMP/0000017.png   what is found so far, by row; a run that was stopped goes on here
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from pseudolabel_kit.data.readers import read_mask
from pseudolabel_kit.data.rewrite import write_columns
from pseudolabel_kit.data.table import Line, read_table
from pseudolabel_kit.errors import ConfigError, DataError, RunError
from pseudolabel_kit.files import claimed, written_aside
from pseudolabel_kit.lungs.methods import Method
from pseudolabel_kit.lungs.pieces import pieces

DRAFTS = ".lungs.part"
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What was done to a manifest.

    Attributes:
        made: rows that got a region.
        kept: rows whose region was left as it was.
        none_found: images in which no lung was found; their rows are as before.
    """

    made: int
    kept: int
    none_found: tuple[str, ...]


def fill(
    file: Path,
    method: Method,
    *,
    out: str = "regions",
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> Filled:
    """Find the lungs of every row without a region.

    Args:
        file: the manifest itself, no link.
        method: how they are found; the column `region_by` says it.
        out: a folder below the manifest's.
        overwrite: find those of rows with a region too, whoever drew it.
        progress: told (rows done, rows in all).

    Raises:
        ConfigError: `out` lies elsewhere.
        DataError: the manifest is wrong, or an image cannot be read.
        RunError: another file is where a region belongs, or nothing can be written.
    """
    folder = file.parent
    with claimed(folder, "another process is writing into it"):
        lines = read_table(file)
        wanted = [i for i, line in enumerate(lines) if overwrite or not line.region]
        targets = dict(zip(wanted, _targets(folder, out, lines, wanted), strict=True))
        stamp = hashlib.sha256(file.read_bytes() + method.stamp.encode()).hexdigest()[:16]
        drafts = _drafts(folder, stamp)
        _draw(folder, lines, wanted, method, drafts, progress)
        found = [i for i in wanted if read_mask(_draft(drafts, i), lines[i].at).any()]
        _place(folder, {_draft(drafts, i): targets[i] for i in found}, overwrite=overwrite)
        regions = {i: targets[i] for i in found}
        if regions:
            columns = {
                "region": [regions.get(i) for i in range(len(lines))],
                "region_by": [method.name if i in regions else None for i in range(len(lines))],
            }
            write_columns(file, columns, file)
        shutil.rmtree(folder / DRAFTS)
    return Filled(
        made=len(regions),
        kept=len(lines) - len(wanted),
        none_found=tuple(lines[i].image for i in wanted if i not in regions),
    )


def _targets(folder: Path, out: str, lines: Sequence[Line], wanted: Sequence[int]) -> list[str]:
    """Where each row's region goes: images/a/x.jpg to OUT/a/x.png."""
    if not out or os.path.isabs(out) or not _inside(folder / out, folder) or _is(out, folder):
        raise ConfigError(f"--out {out}: expected a folder below {folder}, where the manifest is")
    images = [PurePosixPath(os.path.normpath(lines[i].image)) for i in wanted]
    below = [
        image.relative_to("images") if image.parts[0] == "images" else image for image in images
    ]
    bare = Counter(path.with_suffix("") for path in below)
    named = [
        path.with_suffix(".png") if bare[path.with_suffix("")] == 1 else f"{path}.png"
        for path in below
    ]
    return [(PurePosixPath(os.path.normpath(out)) / name).as_posix() for name in named]


def _is(out: str, folder: Path) -> bool:
    return (folder / out).resolve() == folder.resolve()


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _drafts(folder: Path, stamp: str) -> Path:
    """The folder of what is found so far; what belongs to other work is removed."""
    here = folder / DRAFTS / stamp
    try:
        here.mkdir(parents=True, exist_ok=True)
        for other in (folder / DRAFTS).iterdir():
            if other != here:
                shutil.rmtree(other)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror}") from None
    return here


def _draft(drafts: Path, row: int) -> Path:
    return drafts / f"{row:07d}.png"


def _draw(
    folder: Path,
    lines: Sequence[Line],
    wanted: Sequence[int],
    method: Method,
    drafts: Path,
    progress: Progress,
) -> None:
    """Find what is not found yet. A scan of which a slice is missing is looked at again whole."""
    every = pieces(folder, lines, wanted)
    todo = [p for p in every if not all(_draft(drafts, i).exists() for i in p.at)]
    done = len(wanted) - sum(len(piece.at) for piece in todo)
    for number, (row, mask) in enumerate(method.find(todo), start=done + 1):
        with written_aside(_draft(drafts, row)) as aside:
            Image.fromarray(mask.astype(np.uint8) * 255).save(aside, format="PNG")
        progress(number, len(wanted))


def _place(folder: Path, regions: dict[Path, str], *, overwrite: bool) -> None:
    """Copy drafts to where they belong, after it is known that all may stand there."""
    for draft, target in regions.items():
        path = folder / target
        if not _inside(path, folder):
            raise DataError(f"{target}: lies outside the manifest's folder; use another --out")
        if path.exists() and not overwrite and not filecmp.cmp(draft, path, shallow=False):
            raise RunError(
                f"{path}: exists already, and is no region of its row; "
                "replace it with --overwrite, or choose another --out"
            )
    for draft, target in regions.items():
        with written_aside(folder / target) as aside:
            shutil.copyfile(draft, aside)
