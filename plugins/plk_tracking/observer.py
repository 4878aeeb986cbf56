"""From hooks to a tracker's book: the part that all trackers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from plk_tracking.told import shares, without_folders
from pseudolabel_kit.interfaces import PseudoLabels
from pseudolabel_kit.plugin import Level, Outcome, Run, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


class Book(ABC):
    """What another program keeps of one run, open for writing."""

    @abstractmethod
    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Write figures of a step, by names like "loss/segmentation" or "val/dice"."""

    @abstractmethod
    def event(self, step: int, level: Level, text: str) -> None:
        """Write something that was said aloud."""

    @abstractmethod
    def close(self, outcome: Outcome) -> None:
        """Write what is still held back, and how the run ended."""


class Observer:
    """Opens a book with the first step that is told, and closes it however the run ends.

    Args:
        open_book: given the run and that step: 1 where the run begins; where it goes on, what
            the book holds of that step and later is told anew.
    """

    def __init__(self, open_book: Callable[[Run, int], Book]) -> None:
        self._open = open_book
        self._book: Book | None = None
        self._shares: dict[int, dict[str, Tensor]] = {}
        self._early: list[tuple[int, Level, str]] = []

    @hookimpl
    def plk_pseudo_labelled(self, step: int, pseudo: PseudoLabels) -> None:
        """Keep three means on the device; the losses of the same step bring them down later."""
        self._shares[step] = shares(pseudo)

    @hookimpl
    def plk_step_ended(self, run: Run, step: int, losses: Mapping[str, float]) -> None:
        """Write a step's losses, and the means of its pseudo labels."""
        figures = {f"loss/{name}": value for name, value in losses.items()}
        found = self._shares.pop(step, {})
        figures |= {f"pseudo/{name}": float(value) for name, value in found.items()}
        if self._book is None:
            self._book = self._open(run, step)
            for event in self._early:
                self._book.event(*event)
        self._book.figures(step, figures)

    @hookimpl
    def plk_epoch_ended(self, epoch: int, step: int, measures: Mapping[str, float | None]) -> None:
        """Write the measures of val that are defined."""
        known = {f"val/{name}": value for name, value in measures.items() if value is not None}
        if self._book is not None:
            self._book.figures(step, {"epoch": float(epoch), **known})

    @hookimpl
    def plk_event_raised(self, step: int, level: Level, text: str) -> None:
        """Write what was said aloud, or keep it until there is a step."""
        event = (step, level, without_folders(text))
        if self._book is None:
            self._early.append(event)
        else:
            self._book.event(*event)

    @hookimpl
    def plk_run_ended(self, outcome: Outcome) -> None:
        """Close the book, if it was ever opened."""
        if self._book is not None:
            self._book.close(outcome)
