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

    A tracker changes nothing about a run. What it cannot do without (a library, a login) it
    refuses in `__post_init__` or `observe` by a `PluginError` that names the remedy, so that no
    run begins in vain; later it is named and switched off when it fails, and the run goes on.
    """

    @property
    def origin(self) -> str:
        """What messages call this tracker: "tracker 'mlflow' of plugin 'tracking'"."""
        origin: str = self.__dict__.get("_origin", type(self).__name__)
        return origin

    @abstractmethod
    def observe(self, run: Run) -> object:
        """An object with observing hooks (`plk_run_started`, `plk_step_ended`, ...).

        Called whenever `run` begins or goes on, before any hook; in a run of several processes
        in the first alone. Nothing of the run is written yet, not even its folder: write there
        from the first hook on. The first step that is told is 1 where a run begins, and the one
        after its checkpoint where it goes on: what was told of later steps is then told anew.
        """
