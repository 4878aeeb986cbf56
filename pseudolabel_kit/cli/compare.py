"""`plk compare`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pseudolabel_kit.cli.options import Side

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EPILOG = """
\b
Every cell, a row with a seed, is an ordinary run folder: DIR/ROW/seedN. The same command
goes on where it was stopped; what is finished is not run again, what failed is tried again.
Written into DIR:
  compare.toml                   the comparison, resolved; repeats it
  comparison.csv                 one line for each figure of each run
  comparison.json                everything: means, differences, marks, curves
  comparison.tex                 the tables
  report.html                    the tables with learning curves and pictures
  ROW/train-seedN.log            what a cell's process said

\b
Examples:
  plk compare examples/table4.toml --quick                    a minute, to see it work
  plk compare examples/table4.toml --out runs/table4 --jobs 2
  plk compare --recipe supervised,fixmatch,calibrated --seeds 3 --data scans/
  plk compare --recipe supervised --fuser sharpen,my-fuser    a new fuser beside the default's
  plk compare --explainer ig,my-explainer --split val         what is still chosen leaves test alone
  plk compare examples/rivals.toml --set train.epochs=30 --on ray

\b
Exit codes: 0 when every cell is finished, 1 when some failed, 130 after Ctrl-C.
"""
Text = str | None
Number = int | None


class Where(StrEnum):
    """Who runs the cells."""

    HERE = "here"
    RAY = "ray"


def _option(
    help_text: str, *names: str, metavar: str | None = None, least: int | None = None
) -> Any:
    return typer.Option(*names, help=help_text, metavar=metavar, min=least, show_default=False)


OutOption = Annotated[
    Path | None, _option("The comparison's folder; default: runs/ and the name.", metavar="DIR")
]


@app.command(epilog=EPILOG)
def compare(
    toml: Annotated[
        Path | None, typer.Argument(metavar="[SPEC.TOML]", help="Rows, seeds and measures.")
    ] = None,
    recipe: Annotated[
        Text, _option("Recipes, with commas; the first of all rows is the baseline.")
    ] = None,
    backbone: Annotated[Text, _option("Backbones in the default recipe, with commas.")] = None,
    explainer: Annotated[Text, _option("Explainers likewise, each alone.")] = None,
    fuser: Annotated[Text, _option("Fusers likewise.")] = None,
    out: OutOption = None,
    seeds: Annotated[Number, _option("How many, from 0.", least=1)] = None,
    split: Annotated[
        Side | None, _option("Which rows are measured; default: the file's, or test.")
    ] = None,
    data: Annotated[Text, _option("A manifest.csv, its folder, or a dataset's name.")] = None,
    settings: Annotated[
        list[str] | None,
        _option("Any key of the configuration, for every row.", "--set", metavar="KEY=VALUE"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="The comparison's short form: its [quick] table.")
    ] = False,
    jobs: Annotated[
        Number, _option("Cells side by side; default: one a GPU, or one.", least=1)
    ] = None,
    on: Annotated[
        Where, typer.Option(help="This machine, or a Ray cluster with a shared file system.")
    ] = Where.HERE,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Train anew runs whose configuration or data changed."),
    ] = False,
) -> None:
    """Train methods with several seeds and say how they differ."""
    from pseudolabel_kit.cli.comparing import specification, start

    spec, name = specification(
        toml,
        recipe,
        {"backbone": backbone, "explainer": explainer, "fuser": fuser},
        seeds=seeds,
        split=split.value if split else None,
        settings=[*([f"data.source={data}"] if data else []), *(settings or [])],
        quick=quick,
    )
    folder = out or Path("runs") / name
    raise typer.Exit(start(spec, folder, jobs=jobs, on=on.value, overwrite=overwrite))
