"""`plk data split`: who is trained on and who is kept to measure on, written into a manifest."""

from __future__ import annotations

from contextlib import ExitStack
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pseudolabel_kit.errors import ConfigError, DataError

EPILOG = """
\b
Sides are drawn by patient, evenly over classes and over who has a mask or a lesion.
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


def split(
    manifest: Annotated[
        Path, typer.Argument(metavar="MANIFEST|FOLDER", help="A manifest.csv, or its folder.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write here, beside the manifest, not over it."),
    ] = None,
    val: Annotated[float, typer.Option(help="Share of the images for val.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share of the images for test.")] = 0.2,
    labelled: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Labels of the training side: 5patients, 200images or a share; all unless given.",
        ),
    ] = None,
    by: Annotated[
        By,
        typer.Option(help="Give labels to whole patients, or to single images of the training."),
    ] = By.PATIENT,
    seed: Annotated[int, typer.Option(min=0, help="Another one draws other patients.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace splits, or a file, that are there already.")
    ] = False,
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
        lesions = shown_lesions(lines, file.parent, partial(stages(stack), "reading masks"))
    splits = divide.divide(rows, shares, seed, lesions)
    write_columns(file, {"split": splits}, target)
    members = {s: [i for i, side in enumerate(splits) if side == s] for s in SPLITS}
    console.out.print(side_table(rows, classes, members, lesions))
    for line in divide.inexact(rows, splits, shares):
        console.out.print(f"patients stay whole: {line}", markup=False, soft_wrap=True)
    console.out.print(f"splits: {target}", markup=False, soft_wrap=True)


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
