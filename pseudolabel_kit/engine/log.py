"""The log of a run: every loss term of every step, said aloud where it is not sound."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import torch
from torch import Tensor

from pseudolabel_kit.engine.checkpoint import Progress
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.guard import Failed
from pseudolabel_kit.engine.step import Step
from pseudolabel_kit.errors import PluginError, RunError
from pseudolabel_kit.interfaces import PseudoLabels
from pseudolabel_kit.plugin.hooks import Observers, Run

SILENT_STEPS = 50
LABELS = ("mean_label", "coverage")
FAILED = "failed "  # before the reference of an explainer, among the figures of a step


@dataclass
class Log:
    """Buffers what steps leave on the device and writes it in a few transfers.

    Attributes:
        run: what observers are shown.
        mean_over_processes: of what each process found for its rows.
        writes: false in all processes but the first.
        every: steps between two transfers; observers hear of a step at most so much later.
    """

    run: Run
    folder: RunFolder
    observers: Observers
    progress: Progress
    mean_over_processes: Callable[[Tensor], Tensor] = lambda values: values
    writes: bool = True
    every: int = 10
    _steps: list[tuple[dict[str, Any], Tensor]] = field(default_factory=list)
    _records: list[Mapping[str, Any]] = field(default_factory=list)
    _last: float = field(default_factory=time.perf_counter)

    def step(self, number: int, lr: float, step: Step) -> None:
        """Keep a step's terms; `number` counts from 1.

        Raises:
            RunError: a term is not finite.
        """
        now = time.perf_counter()
        figures = step.terms | _told(step.pseudo) | self._failures(step)
        record = {"kind": "step", "step": number, "lr": lr, "names": list(figures)}
        record |= {"weights": dict(step.weights), "seconds": now - self._last}
        record |= {"rows": step.rows, "failed": step.failed}
        self._steps.append((record, torch.stack([v.float() for v in figures.values()])))
        self._last = now
        if step.pseudo is not None:
            self.observers.pseudo_labelled(self.run, number, step.pseudo)
        if len(self._steps) >= self.every:
            self.settle()

    def settle(self) -> None:
        """Bring the buffered steps from the device and tell observers of them.

        Raises:
            RunError: a term is not finite.
        """
        steps, self._steps = self._steps, []
        flat = (
            self.mean_over_processes(torch.cat([t for _, t in steps])) if steps else torch.empty(0)
        )
        found = iter(flat.tolist())
        for record, tensor in steps:
            figures = dict(zip(record.pop("names"), islice(found, len(tensor)), strict=True))
            record |= {name: figures.pop(name, None) for name in LABELS}
            self._count(record, figures)
            losses = record["losses"] = figures
            self._check(record["step"], losses)
            self._records.append(record)
            self.observers.step_ended(self.run, record["step"], losses)
        self._last = time.perf_counter()

    def spared(self, failed: Failed, step: int) -> None:
        """Say aloud why an explainer's evidence was left out, the first time that it was."""
        for reference, error in failed.items():
            if error is not None and reference not in self.progress.failures:
                self.progress.failures[reference] = 0
                self.event(
                    "warning",
                    f"{error}; its evidence is left out, now and each time that it fails",
                    step=step,
                )

    def record(self, kind: str, **content: Any) -> None:
        """Add a record that is not a step, after those of the steps before it."""
        self.settle()
        self._records.append({"kind": kind, "step": self.progress.step} | content)

    def event(
        self, level: Literal["info", "warning"], text: str, *, step: int | None = None
    ) -> None:
        """Say something aloud, of this step unless another is named, and keep it for the report."""
        step = self.progress.step if step is None else step
        self.record("event", step=step, level=level, text=text)
        self.observers.event_raised(self.run, step, level, text)

    def flush(self) -> int:
        """Write everything; the log's length in bytes.

        Raises:
            RunError: a term is not finite, or the folder cannot be written.
        """
        self.settle()
        records, self._records = self._records, []
        return self.folder.append(records) if self.writes else 0

    def _failures(self, step: Step) -> dict[str, Tensor]:
        """1 for every explainer that failed in this process and 0 for the others, as figures."""
        like = next(iter(step.terms.values()))
        return {
            f"{FAILED}{reference}": like.new_tensor(error is not None)
            for reference, error in step.failed.items()
        }

    def _count(self, record: dict[str, Any], figures: dict[str, float]) -> None:
        """Count the explainers that failed in any process, and leave their names in the record."""
        failed: Failed = record.pop("failed")
        found = [name for name in failed if figures.pop(f"{FAILED}{name}")]
        why: Failed = {name: failed[name] or _elsewhere(name) for name in found}
        self.spared(why, record["step"])
        for name in found:
            self.progress.failures[name] += 1
        if found:
            record["failed"] = found

    def _check(self, step: int, losses: Mapping[str, float]) -> None:
        for name, value in losses.items():
            if not math.isfinite(value):
                raise RunError(
                    f"{self.folder.path}: loss term '{name}' is {value} at step {step}; "
                    "lower optimiser.lr or optimiser.clip and train anew"
                )
            if value != 0:
                self.progress.zero_for[name] = -1
            elif self.progress.zero_for.get(name, 0) >= 0:
                self.progress.zero_for[name] = self.progress.zero_for.get(name, 0) + 1
                if self.progress.zero_for[name] == SILENT_STEPS:
                    self.event(
                        "warning",
                        f"loss term '{name}' was exactly 0 for its first {SILENT_STEPS} steps: "
                        "it trains nothing",
                        step=step,
                    )


def _elsewhere(reference: str) -> PluginError:
    return PluginError(f"explainer '{reference}' failed in another process")


def _told(pseudo: PseudoLabels | None) -> dict[str, Tensor]:
    """The mean target, and the share of pixels (of images, where no mask is taught) that count."""
    if pseudo is None:
        return {}
    if pseudo.mask is None or pseudo.mask_weight is None:
        weight = pseudo.label_weight
        return {} if weight is None else {"coverage": (weight > 0).float().mean()}
    return {
        "mean_label": pseudo.mask.mean(),
        "coverage": (pseudo.mask_weight > 0).float().mean(),
    }
