"""What a tracker owes: it hears a whole run, and changes nothing about it."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pluggy
import torch

from pseudolabel_kit.config import Config
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.plugin.build import build
from pseudolabel_kit.plugin.component import Kind
from pseudolabel_kit.plugin.hooks import Outcome, manager
from pseudolabel_kit.plugin.tracker import Tracker
from pseudolabel_kit.testing.fault import ConformanceError, require, sound
from pseudolabel_kit.testing.options import OptionConformance
from pseudolabel_kit.testing.samples import make_pseudo
from pseudolabel_kit.testing.settings import settings_kept
from pseudolabel_kit.testing.witness import unedited

LOSSES = {"classification": 0.7, "segmentation.edge": 0.0, "ig:steps=8:target=a/b": 12.5}
MEASURES = {"dice": 0.5, "auc": None}  # None: undefined on this split


@dataclass(frozen=True)
class PlayedRun:
    """A run that trains nothing."""

    folder: Path
    config: Config
    steps: int


class TrackerConformance(OptionConformance):
    """`observe`: an observer of every moment of a run, however it ends, and of its sequel.

    Runs are played in a temporary folder, which is the working folder meanwhile. A tracker
    whose options or environment name another place writes there.
    """

    kind: ClassVar[Kind] = "tracker"

    def part(self) -> Tracker:
        """The tracker, newly built by its reference."""
        return build("tracker", self.reference)

    def test_it_observes(self) -> None:
        """`observe` gives an object with hooks, all spelt and signed as the contract says."""
        with self._run() as run:
            self._observer(run)

    def test_observing_writes_nothing_yet(self) -> None:
        """Until the first hook the run's folder is left alone: it may not even exist."""
        with self._run() as run:
            self._observer(run)
            require(
                not run.folder.exists(),
                f"observe made {run.folder.name}/, which a run refuses to begin in",
                "open files in plk_run_started, or when there is something to write",
            )

    def test_it_hears_a_whole_run(self) -> None:
        """No hook raises or returns anything, whether the run finishes, is stopped or fails."""
        for outcome in ("finished", "interrupted", "failed"):
            with self._run() as run:
                self._play(run, 1, outcome)

    def test_it_goes_on_with_a_run(self) -> None:
        """It hears a run that goes on from a checkpoint, and tells two steps twice."""
        with self._run() as run:
            self._play(run, 1, "failed")
            self._play(run, run.steps - 1, "finished")

    def test_it_hears_a_run_begin_anew(self) -> None:
        """It hears another run in a folder that already held one."""
        with self._run() as run:
            self._play(run, 1, "finished")
            self._play(run, 1, "finished")

    def test_it_hears_a_run_that_fails_at_once(self) -> None:
        """It copes with a run that ends before its first step."""
        with self._run() as run:
            self._play(run, run.steps + 1, "failed")

    def test_it_changes_nothing(self) -> None:
        """Losses, pseudo labels, random numbers and torch's settings stay as they were."""
        random = torch.get_rng_state()
        with self._run() as run, settings_kept("a hook"):
            pseudo, losses = make_pseudo(), dict(LOSSES)
            with unedited("a hook", pseudo=pseudo):
                self._play(run, 1, "finished", {"pseudo": pseudo, "losses": losses})
            require(losses == LOSSES, f"losses became {losses}", "copy the mapping: dict(losses)")
        require(
            bool(torch.get_rng_state().equal(random)),
            "a hook drew random numbers from torch's generator: the run is no longer repeated",
            "draw from a generator of your own: torch.Generator()",
        )

    def test_it_stays_where_it_is(self) -> None:
        """The working folder is not changed."""
        with self._run() as run:
            before = os.getcwd()
            self._play(run, 1, "finished")
            require(os.getcwd() == before, "it changed the working folder", "use whole paths")

    def test_it_prints_nothing(self) -> None:
        """Standard output is for results."""
        with self._run() as run, contextlib.redirect_stdout(io.StringIO()) as shown:
            self._play(run, 1, "finished")
        require(
            not shown.getvalue(),
            f"it printed {shown.getvalue()[:60]!r}",
            "switch the library's messages off, or use logging",
        )

    @contextlib.contextmanager
    def _run(self) -> Iterator[PlayedRun]:
        config = Config.model_validate({"train": {"tracker": self.reference}})
        place = tempfile.TemporaryDirectory(prefix="plk-check-")
        with place as folder, contextlib.chdir(folder):
            yield PlayedRun(Path(folder) / "runs" / "played", config, 4)

    def _observer(self, run: PlayedRun) -> pluggy.PluginManager:
        part = self.part()
        with sound("observe", part):
            observer = part.observe(run)
        try:
            return manager(self.reference, observer)
        except PluginError as error:
            raise ConformanceError(
                f"{type(observer).__name__} is no observer: {error}",
                "mark its hooks with @hookimpl, named and signed as in the contract",
            ) from error

    def _play(
        self, run: PlayedRun, first: int, outcome: Outcome, told: Mapping[str, Any] | None = None
    ) -> None:
        """Every hook of a run whose first step is `first`."""
        observer = self._observer(run)
        (run.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        for hook, event in _story(run, first, outcome):
            given = deepcopy(event) | {k: v for k, v in (told or {}).items() if k in event}
            with sound(hook, self.part()):
                answers = getattr(observer.hook, hook)(run=run, **given)
            require(
                not answers,
                f"{hook} returned {answers!r:.60}",
                "return nothing: an observer has no say",
            )


def _story(run: PlayedRun, first: int, outcome: Outcome) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "plk_run_started", {}
    before = first - 1
    yield "plk_event_raised", {"step": before, "level": "warning", "text": "L_u 'never' [joins]"}
    for step in range(first, run.steps + 1):
        yield "plk_pseudo_labelled", {"step": step, "pseudo": make_pseudo()}
        yield "plk_step_ended", {"step": step, "losses": LOSSES}
        if step % 2 == 0:
            measures = MEASURES if step == run.steps else {}  # empty: val has no rows
            yield "plk_epoch_ended", {"epoch": step // 2, "step": step, "measures": measures}
        yield "plk_event_raised", {"step": step, "level": "info", "text": "the label drifts"}
    yield "plk_run_ended", {"outcome": outcome}
