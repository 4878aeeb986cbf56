"""TensorBoard: event files beside the run's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from plk_tracking import told
from plk_tracking.observer import Book, Observer
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.plugin import Level, Outcome, Run, Tracker
from pseudolabel_kit.plugin.options import to_text

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError as error:
    raise PluginError("install it: pip install 'pseudolabel-kit[tensorboard]'") from error


@dataclass(frozen=True, kw_only=True)
class TensorBoard(Tracker):
    """Curves of losses, pseudo labels and measures; `tensorboard --logdir runs` shows them.

    A run that goes on goes on with the same curves.

    Attributes:
        folder: where the runs' folders of event files lie; empty = RUN/tensorboard.
    """

    folder: str = ""

    def observe(self, run: Run) -> Observer:
        """An observer that writes event files."""
        return Observer(self._open)

    def _open(self, run: Run, first: int) -> Book:
        folder = Path(self.folder) / told.name(run) if self.folder else run.folder / "tensorboard"
        if first == 1:
            for stale in folder.glob("events.out.tfevents.*"):  # of a run that is replaced
                stale.unlink()
        book = _EventFiles(SummaryWriter(str(folder), purge_step=first))
        if first == 1:
            book.describe(told.settings(run))
        return book


class _EventFiles(Book):
    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def describe(self, settings: Mapping[str, told.Setting]) -> None:
        """The configuration as a table in Markdown, at step 0."""
        rows = "".join(f"| {key} | `{to_text(value)}` |\n" for key, value in settings.items())
        self._writer.add_text("configuration", f"| key | value |\n|---|---|\n{rows}", 0)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def event(self, step: int, level: Level, text: str) -> None:
        self._writer.add_text(f"events/{level}", text, step)
        self._writer.flush()

    def close(self, outcome: Outcome) -> None:
        self._writer.close()
