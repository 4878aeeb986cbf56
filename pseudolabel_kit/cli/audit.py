"""`plk audit`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pseudolabel_kit.cli.options import References, Side
from pseudolabel_kit.errors import ConfigError

if TYPE_CHECKING:
    from pseudolabel_kit.audit.findings import Findings
    from pseudolabel_kit.audit.sweep import Audited

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EPILOG = """
\b
Written into RUN/audit, or DIR:
  SPLIT.html   curves of calibration and coverage, best and worst images
  SPLIT.csv    every figure, by class and by patient
Of several runs each has its own, and the terminal shows their means.
Each explainer's maps are kept in RUN/audit/evidence and judged with any fuser. A fuser
that calibrates and is not the run's own is fitted on val: judge it on another split.

\b
Examples:
  plk audit runs/first
  plk audit runs/first --explainer ig,caam,gradcam,input-x-gradient
  plk audit runs/first --fuser sharpen,sharpen:norm=pixel,fixmatch,pseudoseg
  plk audit runs/first --fuser my-fuser --split val --checkpoint all
  plk audit runs/compared/*/seed* --explainer caam,gradcam --fuser sharpen
"""


class Weights(StrEnum):
    """Which weights of a run."""

    BEST = "best"
    LAST = "last"
    ALL = "all"


@app.command(epilog=EPILOG)
def audit(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    split: Annotated[Side, typer.Option(help="Whose images, and whose truth.")] = Side.UNLABELLED,
    explainer: References = None,
    fuser: References = None,
    checkpoint: Annotated[
        Weights, typer.Option(help="The best weights on val, the last, or every step kept.")
    ] = Weights.BEST,
    rows: Annotated[int, typer.Option(min=1, help="At most so many images, evenly spread.")] = 256,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write; RUN/audit unless given.")
    ] = None,
) -> None:
    """Judge evidence and pseudo labels on a frozen model, without training.

    The truth of the split is read here, which training never does.
    """
    from pseudolabel_kit.audit.summary import summary
    from pseudolabel_kit.audit.sweep import audit as audited
    from pseudolabel_kit.cli import console

    if out and len(runs) > 1:
        raise ConfigError("--out: expected one RUN; each of several has its own folder")
    ask = partial(audited, split=split.value, explainer=explainer, fuser=fuser, rows=rows)
    found: dict[Path, Findings] = {}
    for run in runs:
        command = _command(run, **ask.keywords, checkpoint=checkpoint, out=out)
        folder = out or run / "audit"
        found[run.resolve()] = _one(partial(ask, run), run, checkpoint.value, folder, command)
    if len(runs) > 1:
        console.out.print(summary(found))


def _one(
    ask: Callable[..., Audited], run: Path, which: str, folder: Path, command: str
) -> Findings:
    """Audit a run: tables on the terminal, the CSV file and the page in the folder; the last."""
    from pseudolabel_kit.audit.page import page
    from pseudolabel_kit.audit.sweep import checkpoints
    from pseudolabel_kit.audit.tables import as_csv, terminal
    from pseudolabel_kit.cli import console
    from pseudolabel_kit.cli.display import stages
    from pseudolabel_kit.files import write_text

    found: list[Findings] = []
    with ExitStack() as stack:
        told = stages(stack)
        for each in checkpoints(run, which):
            audited = ask(which=each, told=told)
            found.append(audited.findings)
    for findings in found:
        console.out.print(terminal(findings))
    split = audited.findings.split
    table, report = folder / f"{split}.csv", folder / f"{split}.html"
    write_text(table, as_csv(found))
    write_text(report, page(found, audited, command))
    console.out.print(f"figures: {table}", markup=False, soft_wrap=True)
    console.out.print(f"report:  {report}", markup=False, soft_wrap=True)
    return audited.findings


def _command(run: Path, **options: object) -> str:
    import shlex

    named = [("--" + name, str(value)) for name, value in options.items() if value is not None]
    return shlex.join(["plk", "audit", str(run), *(word for pair in named for word in pair)])
