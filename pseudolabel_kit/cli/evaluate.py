"""`plk evaluate`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from pseudolabel_kit.cli.options import Checkpoint, Side, Which

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EPILOG = """
\b
Examples:
  plk evaluate runs/first                  val, with the best weights
  plk evaluate runs/first --split test     read test once, for the final table
"""


@app.command(epilog=EPILOG)
def evaluate(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    split: Annotated[Side, typer.Option(help="Which rows.")] = Side.VAL,
    checkpoint: Checkpoint = Which.BEST,
) -> None:
    """Measure a trained run on one side of the split."""
    from pseudolabel_kit.cli.console import out
    from pseudolabel_kit.cli.display import decoding
    from pseudolabel_kit.engine.evaluate import evaluate as measured
    from pseudolabel_kit.report.page import write_report
    from pseudolabel_kit.report.tables import measures_table

    with ExitStack() as stack:
        found = measured(run, split.value, which=checkpoint.value, progress=decoding(stack))
    out.print(measures_table([found]))
    page = write_report(run)
    out.print(f"report: {page}", markup=False, soft_wrap=True)
