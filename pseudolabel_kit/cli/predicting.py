"""What `plk predict` does and shows, for scans and for pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.table import Table
from rich.text import Text

from pseudolabel_kit.answers.answer import Answer as ScanAnswer
from pseudolabel_kit.answers.folder import TABLE
from pseudolabel_kit.answers.predict import predict_studies
from pseudolabel_kit.answers.scanner import Scanner
from pseudolabel_kit.cli import console
from pseudolabel_kit.cli.display import progress_bar
from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.engine.predictions import CLASSES, Answer, predict_files
from pseudolabel_kit.report.words import figure
from pseudolabel_kit.scans.study import Skipped, Study

SHOWN = 20


def scans(
    scanner: Scanner, studies: Sequence[Study], out: Path, *, overwrite: bool
) -> Sequence[Skipped]:
    """Predict scans and show a table of them, if there is one; what was skipped is returned."""
    with _bar("reading scans", len(studies)) as progress:
        done = predict_studies(scanner, studies, out, overwrite=overwrite, progress=progress)
    if not done.answers:
        return done.skipped
    console.out.print(_scans_table(done.answers))
    if done.others:
        told = f"{done.others} answers by other settings are not in it"
        console.err.print(f"{out / TABLE}: {told}", markup=False, soft_wrap=True)
    if done.kept:
        console.out.print(f"{done.kept} of them done before", markup=False, soft_wrap=True)
    console.out.print(f"studies: {out / TABLE}", markup=False, soft_wrap=True)
    console.out.print(f"masks:   {out / 'masks'}", markup=False, soft_wrap=True)
    return done.skipped


def pictures(
    predictor: Predictor, images: Sequence[Path], out: Path, *, batch_size: int, overwrite: bool
) -> None:
    """Predict pictures and show a table of them."""
    with _bar("predicting", len(images)) as progress:
        answers = predict_files(
            predictor, images, out, batch_size=batch_size, overwrite=overwrite, progress=progress
        )
    console.out.print(_pictures_table(answers))
    console.out.print(f"class scores: {out / CLASSES}", markup=False, soft_wrap=True)
    console.out.print(f"pictures:     {out}", markup=False, soft_wrap=True)


def say_skipped(skipped: Sequence[Skipped]) -> None:
    """Each with its reason."""
    for each in skipped:
        console.err.print(f"skipped: {each.reason}", markup=False, soft_wrap=True)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int, int], None]]:
    with progress_bar() as bar:
        task = bar.add_task(what, total=total)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _scans_table(answers: Sequence[ScanAnswer]) -> Table:
    table = _table(len(answers), TABLE, "study")
    for heading in ("lesion, ml", "of the lung", "slices with lesion"):
        table.add_column(heading, justify="right")
    for answer in answers[:SHOWN]:
        table.add_row(
            Text(answer.study),
            Text(answer.predicted),
            figure(answer.probabilities.get(answer.predicted)),
            "–" if answer.lesion_ml is None else f"{answer.lesion_ml:.1f}",
            _share(answer.share_of_lung),
            "–"
            if answer.slices_with_lesion is None
            else f"{answer.slices_with_lesion} of {answer.slices}",
        )
    return table


def _pictures_table(answers: Sequence[Answer]) -> Table:
    table = _table(len(answers), CLASSES, "image")
    table.add_column("lesion", justify="right")
    for answer in answers[:SHOWN]:
        table.add_row(
            Text(answer.name),
            Text(answer.predicted),
            figure(answer.probabilities.get(answer.predicted)),
            _share(answer.lesion_share),
        )
    return table


def _table(count: int, listed_in: str, what: str) -> Table:
    """The columns that pictures and scans share."""
    more = count - SHOWN
    table = Table(caption=f"and {more} more in {listed_in}" if more > 0 else None)
    table.add_column(what, overflow="fold")
    table.add_column("class")
    table.add_column("probability", justify="right")
    return table


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
