"""`plk data split`: who is trained on and who is kept to measure on, written into a manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from pseudolabel_kit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pseudolabel_kit.data.hashing import Group
    from pseudolabel_kit.data.table import Line

EPILOG = """
\b
Sides are drawn by patient, evenly over classes and over who has a mask or a lesion. Images that
show the same stay on one side; of every class, a patient stays to be trained on.
--labelled counts images with a mask, and all of a class without any.
Every other column of the manifest stays as it is, byte for byte.

\b
Examples:
  plk data split scans --labelled 5patients
  plk data split scans --labelled 200images --out scans/seed1.csv --seed 1
  plk data split scans --labelled 0.1 --by image   labels of single images
  plk data split scans --val 0.1 --test 0.3 --force
"""


class By(StrEnum):
    """What a label is given to."""

    PATIENT = "patient"
    IMAGE = "image"


class Copies(StrEnum):
    """What becomes of images that show the same."""

    TOGETHER = "together"
    IGNORE = "ignore"


File: TypeAlias = Annotated[
    Path, typer.Argument(metavar="MANIFEST|FOLDER", help="A manifest.csv, or its folder.")
]
Out: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write here, beside the manifest, not over it.")
]
Labelled: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="Labels of the training side: 5patients, 200images or a share; all unless given.",
    ),
]
ByOption: TypeAlias = Annotated[
    By, typer.Option(help="Give labels to whole patients, or to single images of the training.")
]
CopiesOption: TypeAlias = Annotated[
    Copies, typer.Option(help="Keep copies and near-copies on one side, or do not look for them.")
]
Force: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Replace splits, or a file, that are there already.")
]


def split(
    manifest: File,
    out: Out = None,
    val: Annotated[float, typer.Option(help="Share of the images for val.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share of the images for test.")] = 0.2,
    labelled: Labelled = None,
    by: ByOption = By.PATIENT,
    copies: CopiesOption = Copies.TOGETHER,
    seed: Annotated[int, typer.Option(min=0, help="Another one draws other patients.")] = 0,
    force: Force = False,
) -> None:
    """Draw labelled, unlabelled, val and test by patient, and write them into the manifest."""
    from pseudolabel_kit.cli import console
    from pseudolabel_kit.cli.display import stages
    from pseudolabel_kit.cli.side_table import side_table
    from pseudolabel_kit.data import divide
    from pseudolabel_kit.data.manifest import as_rows, class_names, shown_lesions
    from pseudolabel_kit.data.rewrite import write_columns
    from pseudolabel_kit.data.splits import SPLITS
    from pseudolabel_kit.data.table import read_table

    budget = divide.Budget.parse(labelled) if labelled else None
    shares = divide.Shares(val=val, test=test, labelled=budget, by=by.value)
    file = manifest_file(manifest)
    lines = read_table(file)
    target = _target(file, out, split=any(line.split for line in lines), force=force)
    classes = class_names({line.label for line in lines if line.label})
    rows = as_rows(lines, classes)
    with ExitStack() as stack:
        told = stages(stack)
        lesions = shown_lesions(lines, file.parent, partial(told, "reading masks"))
        same = _copies(lines, file.parent, told) if copies is Copies.TOGETHER else []
    splits = divide.divide(rows, shares, seed, lesions, same)
    write_columns(file, {"split": splits}, target)
    members = {s: [i for i, side in enumerate(splits) if side == s] for s in SPLITS}
    console.out.print(side_table(rows, classes, members, lesions))
    said = [f"stay on one side: {_amount(same)}"] if same else []
    said += [f"patients stay whole: {line}" for line in divide.inexact(rows, splits, shares)]
    said += [f"too few: {line}" for line in divide.absent(rows, splits, classes)]
    for line in [*said, f"splits: {target}"]:
        console.out.print(line, markup=False, soft_wrap=True)


def _copies(
    lines: Sequence[Line], folder: Path, told: Callable[[str, int, int], None]
) -> list[Group]:
    """Images that show the same, of different patients."""
    from pseudolabel_kit.data.hashing import GENEROUS, alike
    from pseudolabel_kit.data.manifest import hashes

    digests, shown = hashes(lines, folder, partial(told, "reading images"))
    return alike(
        shown,
        digests=digests,
        owners=[line.patient or i for i, line in enumerate(lines)],
        reach=GENEROUS,  # more than plk data check, which may see them at another size
        progress=partial(told, "comparing images"),
    )


def _amount(copies: Sequence[Group]) -> str:
    groups = "1 group" if len(copies) == 1 else f"{len(copies)} groups"
    images = sum(map(len, copies))
    return f"{groups} of copies, {images} images; --copies ignore draws them freely"


def manifest_file(path: Path) -> Path:
    """The file itself: what is written beside it and renamed shall not replace a link."""
    file = path / "manifest.csv" if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{file} does not exist; expected a manifest.csv or its folder")
    return file.resolve()


def _target(file: Path, out: Path | None, *, split: bool, force: bool) -> Path:
    """Where to write, if nothing is lost by it, or if that is wanted."""
    if out is None:
        if split and not force:
            raise ConfigError(
                f"{file.name} has splits already; --force replaces them, "
                "--out FILE leaves them as they are"
            )
        return file
    if out.resolve().parent != file.parent:
        raise ConfigError(
            f"--out {out}: expected a file in {file.parent}, to which the paths in it are relative"
        )
    if out.exists() and not force:
        raise ConfigError(f"--out {out} exists already; --force replaces it")
    return out
