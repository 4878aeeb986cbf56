"""`plk data lungs`: the lungs of a dataset's images, as regions; and how right they are."""

from __future__ import annotations

import json
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pseudolabel_kit.cli.options import Checkpoint, Which
from pseudolabel_kit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from pseudolabel_kit.lungs.agreement import Agreement
    from pseudolabel_kit.lungs.fill import Filled
    from pseudolabel_kit.lungs.methods import Method, Trained

EPILOG = """
\b
Lungs are air inside the body, with vessels and lesions, without the windpipe. Scans that
plk data import cut are looked at in 3-D and in HU, other images each by itself, by its grey
values. With --model, they are what a run draws that learnt regions:
  plk train --data DATASET --set data.mask=region --out RUN

\b
Regions that are there are left alone; rows in which no lung is found are named and stay as
they are. The column region_by says what drew a region; where it is empty, an expert did. The
same line goes on where it was stopped.

\b
Examples:
  plk data lungs --data scans
  plk data lungs --data scans --model runs/lungs --overwrite
  plk data lungs --data scans --check
  plk data lungs --data scans --check --model runs/lungs --html lungs.html
"""
NAMED = 5  # rows
PATIENTS = 10  # the worst


def lungs(
    data: Annotated[Path, typer.Option("--data", help="A manifest.csv, or its folder.")],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Below the manifest's folder, for the pictures; default: regions.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="RUN", help="A run that learnt to draw lungs.")
    ] = None,
    checkpoint: Checkpoint = Which.BEST,
    check: Annotated[
        bool,
        typer.Option("--check", help="Compare with an expert's regions, and write none."),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --check: a page with the worst images."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Processes; default: one a core.", show_default=False),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace regions, also an expert's.")
    ] = False,
) -> None:
    """Find the lungs in every image, and fill the manifest's regions."""
    from pseudolabel_kit.cli.split_data import manifest_file
    from pseudolabel_kit.lungs.methods import Threshold, Trained
    from pseudolabel_kit.scans.importing import cores

    if html and not check:
        raise ConfigError("--html shows how right regions are; expected --check beside it")
    if check and (out or overwrite):
        raise ConfigError("--check writes no regions; expected neither --out nor --overwrite")
    file = manifest_file(data)
    threshold = Threshold(jobs=jobs or cores())
    trained = Trained(run=model, which=checkpoint.value) if model else None
    if trained:
        _warn_of_lesions(trained)
    if check:
        methods = [threshold, trained] if trained else [threshold]
        _check(file, methods, html, as_json=as_json)
    else:
        _fill(file, trained or threshold, out or "regions", overwrite=overwrite, as_json=as_json)


def _fill(file: Path, method: Method, out: str, *, overwrite: bool, as_json: bool) -> None:
    from pseudolabel_kit.cli.display import stages
    from pseudolabel_kit.lungs.fill import fill

    with ExitStack() as stack:
        progress = partial(stages(stack), "finding lungs")
        filled = fill(file, method, out=out, overwrite=overwrite, progress=progress)
    if as_json:
        typer.echo(json.dumps({"manifest": str(file), "method": method.name, **vars(filled)}))
    else:
        _tell(file, filled)


def _tell(file: Path, filled: Filled) -> None:
    from pseudolabel_kit.cli import console

    kept = f"; {filled.kept} kept" if filled.kept else ""
    lines = [f"regions: {filled.made} made{kept}; {len(filled.none_found)} without lungs"]
    lines += [f"  no lung found: {image}" for image in filled.none_found[:NAMED]]
    if (more := len(filled.none_found) - NAMED) > 0:
        lines.append(f"  and {more} more; --json names all")
    for line in [*lines, f"manifest: {file}"]:
        console.out.print(line, markup=False, soft_wrap=True)


def _check(file: Path, methods: Sequence[Method], html: Path | None, *, as_json: bool) -> None:
    from pseudolabel_kit.cli import console
    from pseudolabel_kit.cli.display import stages
    from pseudolabel_kit.files import write_text
    from pseudolabel_kit.lungs.agreement import agreement, as_table
    from pseudolabel_kit.lungs.page import page

    with ExitStack() as stack:
        found = agreement(file, methods, stages(stack))
    if html:
        write_text(html, page(found, methods))
    if as_json:
        typer.echo(json.dumps(as_table(found, NAMED), indent=2))
        return
    console.out.print(_table(found))
    for name in found.overlaps:
        console.out.print(f"least agreement, {name}:", markup=False)
        for each in found.worst(name, NAMED):
            told = f"  {each.dice:.3f}  {found.lines[each.row].image}"
            console.out.print(told, markup=False, soft_wrap=True)
    if html:
        console.out.print(f"page: {html}", markup=False, soft_wrap=True)


def _table(agreement: Agreement) -> Table:
    from rich.table import Table
    from rich.text import Text

    patients = agreement.patients()
    more = len(patients) - PATIENTS
    caption = "Dice with the regions that came with the dataset; median and 5% over images"
    table = Table(caption=f"{caption}; and {more} more patients" if more > 0 else caption)
    for title in ("", "method"):
        table.add_column(title, overflow="fold")
    for title in ("images", "pooled", "median", "5%", "least"):
        table.add_column(title, justify="right")
    for group, figures in [*agreement.sides().items(), *list(patients.items())[:PATIENTS]]:
        for name, s in figures.items():
            dice = (f"{value:.3f}" for value in (s.pooled, s.median, s.low, s.least))
            table.add_row(Text(group), Text(name), str(s.images), *dice)
    return table


def _warn_of_lesions(trained: Trained) -> None:
    import warnings

    if not trained.learnt_regions:
        warnings.warn(
            f"{trained.run} was not trained with data.mask = region: its masks are taken for lungs",
            stacklevel=2,
        )
