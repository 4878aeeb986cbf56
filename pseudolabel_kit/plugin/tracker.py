"""What authors of trackers write: an observer that is chosen by name and has options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pseudolabel_kit.plugin.hooks import Run


@dataclass(frozen=True, kw_only=True)
class Tracker(ABC):
    """Tells a run's figures to another program: an observer that is chosen by name.

    A tracker changes nothing about a run. One that fails is named and switched off.
    """

    @abstractmethod
    def observe(self, run: Run) -> object:
        """An object with observing hooks (`plk_run_started`, `plk_step_ended`, ...).

        Called once in each process that begins or goes on with `run`, before any hook; in a
        run of several processes in the first alone. Nothing of the run is written yet.
        """
