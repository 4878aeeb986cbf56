"""`plk predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pseudolabel_kit.cli.options import Checkpoint, Which

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from pseudolabel_kit.engine.predictions import Answer

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EPILOG = """
\b
Written into DIR, every picture in its image's own size:
  classes.csv             image, predicted class, one probability column a class
  masks/NAME.png          0 or 255: what plk evaluate counts as lesion
  probabilities/NAME.png  16 bit, 65535 = 1: the decoder's probability of a lesion
  decoder/NAME.png        that probability over the grey image, the mask outlined
  evidence/REF/NAME.png   an explainer's evidence over the grey image

\b
Examples:
  plk predict runs/first scan.png --out predictions
  plk predict runs/first scans/ more/x.tif --out predictions --overwrite
  plk predict runs/first scans/ --out predictions --checkpoint last --batch-size 2
"""
SHOWN = 20


@app.command(epilog=EPILOG)
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")],
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE", help="PNG, JPEG, TIFF or NPY files, or folders of them."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write into.")],
    checkpoint: Checkpoint = Which.BEST,
    batch_size: Annotated[int, typer.Option(min=1, help="Images held in memory at once.")] = 8,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace outputs that are there already.")
    ] = False,
) -> None:
    """Write masks, class scores and evidence for images.

    Images are resized to the run's size, and what is found is resized back.
    """
    from pseudolabel_kit.cli import console
    from pseudolabel_kit.cli.display import progress_bar
    from pseudolabel_kit.engine.images import find_images

    found = find_images(images, skip=out)  # before torch is imported and weights are read
    from pseudolabel_kit.engine.predict import load
    from pseudolabel_kit.engine.predictions import CLASSES, predict_files

    predictor = load(run, which=checkpoint.value)
    with progress_bar() as bar:
        task = bar.add_task("predicting", total=len(found))
        answers = predict_files(
            predictor,
            found,
            out,
            batch_size=batch_size,
            overwrite=overwrite,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    console.out.print(_table(answers))
    console.out.print(f"class scores: {out / CLASSES}", markup=False, soft_wrap=True)
    console.out.print(f"pictures:     {out}", markup=False, soft_wrap=True)


def _table(answers: Sequence[Answer]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from pseudolabel_kit.report.words import figure

    more = len(answers) - SHOWN
    table = Table(caption=f"and {more} more images in classes.csv" if more > 0 else None)
    table.add_column("image", overflow="fold")
    table.add_column("class")
    table.add_column("probability", justify="right")
    table.add_column("lesion", justify="right")
    for answer in answers[:SHOWN]:
        table.add_row(
            Text(answer.name),
            Text(answer.predicted),
            figure(answer.probabilities.get(answer.predicted)),
            "–" if answer.lesion_share is None else f"{answer.lesion_share:.1%}",
        )
    return table
