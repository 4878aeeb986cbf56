"""The measures as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from pseudolabel_kit.engine.evaluate import Evaluation
from pseudolabel_kit.report.words import GROUPS, figure


def measures_table(evaluations: Sequence[Evaluation]) -> Table:
    """One row a measure, one column a split, each with its 95% interval where there is one."""
    caption = "95% intervals over patients, or images where patients are not known"
    table = Table(caption=caption if any(e.intervals for e in evaluations) else None)
    table.add_column("measure")
    for evaluation in evaluations:
        table.add_column(
            Text(f"{evaluation.split}: {holdings(evaluation)}"), justify="right", no_wrap=True
        )
    for words in GROUPS.values():
        for name, word in words.items():
            table.add_row(
                word.title + (" (less is better)" if word.less_is_better else ""),
                *(cell(evaluation, name) for evaluation in evaluations),
            )
        table.add_section()
    return table


def holdings(evaluation: Evaluation) -> str:
    """How much was measured, like "120 images, 14 patients"."""
    patients = f", {evaluation.patients} patients" if evaluation.patients else ""
    return f"{evaluation.rows} images{patients}"


def cell(evaluation: Evaluation, name: str) -> Text:
    """A value and, dimmed, its interval."""
    value = evaluation.measures.get(name)
    text = Text(figure(value), style="bold" if value is not None else "dim")
    interval = evaluation.intervals.get(name)
    if value is not None and interval:
        text.append(f"  {interval[0]:.3f} – {interval[1]:.3f}", style="not bold dim")
    return text
