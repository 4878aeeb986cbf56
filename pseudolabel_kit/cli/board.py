"""What a person sees while cells run: a line each and one for them all."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from pseudolabel_kit.cli.console import err
from pseudolabel_kit.compare.cells import Cell, Watcher


class Board(Watcher):
    """Bars on a terminal, and everywhere a plain line as each cell ends."""

    def __init__(self) -> None:
        self._running = _bars(TextColumn("{task.fields[rate]}"))
        self._all = _bars(TimeElapsedColumn())
        self._task = TaskID(0)
        self._live = Live(
            Group(self._running, self._all), console=err, transient=True, refresh_per_second=4
        )
        self._lines: dict[Path, TaskID] = {}
        self._began: dict[Path, float] = {}
        self._ended, self._total = 0, 0

    def __enter__(self) -> Self:
        """Nothing is shown before the cells are counted."""
        return self

    def __exit__(self, *error: object) -> None:
        """Take the bars away."""
        self._live.stop()

    def planned(self, waiting: int, total: int) -> None:
        """Begin to show."""
        self._ended, self._total = total - waiting, total
        self._task = self._all.add_task("cells", total=total, completed=self._ended)
        if self._ended:
            _say(f"{self._ended} of {total} cells are finished already")
        if waiting and err.is_terminal:
            self._live.start()

    def began(self, cell: Cell) -> None:
        """A line of its own."""
        self._began[cell.folder] = time.monotonic()
        self._lines[cell.folder] = self._running.add_task(escape(str(cell)), total=None, rate="")

    def stepped(self, cell: Cell, step: int, steps: int) -> None:
        """Move its bar; after the last step it is measured."""
        line = self._lines[cell.folder]
        shown = self._running.tasks[self._running.task_ids.index(line)]
        rate = f"{shown.speed:.1f} steps/s" if shown.speed else ""
        rate = "measuring" if step == steps else rate
        self._running.update(line, completed=step, total=steps, rate=rate)

    def ended(self, cell: Cell, reason: str | None) -> None:
        """Say how, above the bars."""
        self._running.remove_task(self._lines.pop(cell.folder))
        self._ended += 1
        self._all.update(self._task, completed=self._ended)
        took = timedelta(seconds=round(time.monotonic() - self._began[cell.folder]))
        how = f"finished in {took}" if reason is None else f"failed: {reason}"
        _say(f"{self._ended}/{self._total}  {cell}: {how}", "" if reason is None else "yellow")


def _bars(*more: ProgressColumn) -> Progress:
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *more
    )


def _say(text: str, style: str = "") -> None:
    err.print(text, style=style, markup=False, soft_wrap=True)
