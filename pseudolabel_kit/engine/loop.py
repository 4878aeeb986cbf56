"""The loop around the step: what happens when, and how a run goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import ceil
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from torch import nn

from pseudolabel_kit.config import Config
from pseudolabel_kit.data.store import Subset
from pseudolabel_kit.engine import checkpoint, guard, oddities, schedule, watch
from pseudolabel_kit.engine.audit import Drift, Record, verdict
from pseudolabel_kit.engine.average import Average
from pseudolabel_kit.engine.checkpoint import Progress
from pseudolabel_kit.engine.evaluate import measure, selected
from pseudolabel_kit.engine.failure import resumable_step
from pseudolabel_kit.engine.feed import Feed
from pseudolabel_kit.engine.finite import require_weights
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.gradients import differentiate
from pseudolabel_kit.engine.log import Log
from pseudolabel_kit.engine.seeding import seed_everything
from pseudolabel_kit.engine.setup import Streams
from pseudolabel_kit.engine.signals import Stop
from pseudolabel_kit.engine.step import CONSISTENCY, Learner
from pseudolabel_kit.engine.tensors import gathered, put_back
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.isolate import isolated

T = TypeVar("T")


@dataclass(kw_only=True)
class Loop:
    """A run in progress."""

    config: Config
    fabric: Fabric
    clock: schedule.Clock
    streams: Streams
    feed: Feed
    learner: Learner
    wrapped: nn.Module
    optimiser: torch.optim.Optimizer
    average: Average | None
    frozen: Average | None
    progress: Progress
    folder: RunFolder
    log: Log

    @property
    def labels(self) -> bool:
        """Whether this run makes pseudo labels at all."""
        makes = self.learner.method.fuser.reads != "nothing" and self.config.loss.consistency > 0
        return makes and len(self.streams.unlabelled) > 0

    @property
    def evaluated(self) -> nn.Module:
        """The weights that are measured: the averaged ones where there are any."""
        return self.average.model if self.average else self.learner.model

    def run(self, stop: Stop) -> bool:
        """Train until the end, or until asked to stop; whether the end was reached."""
        if self.progress.step == 0:
            self.warn(*oddities.before(self))
        while self.progress.step < self.clock.total:
            if self.consistency_due() or self.round_due():
                self.save()  # a survey that fails loses nothing
            if self.consistency_due():
                self.begin_consistency()
            if self.round_due():
                self.begin_round(self.progress.round + 1)
            self.train()
            if self.due(self.clock.steps(self.config.evaluate.every)):
                self.end_epoch()
            if self.progress.step == self.clock.total:
                self.warn(*oddities.after(self))
            stopping = stop.agreed(self.fabric)
            if self.due(self.config.train.checkpoint_every) or stopping:
                self.save()
            if stopping and self.progress.step < self.clock.total:
                return False
        return True

    def warn(self, *texts: str) -> None:
        """Say aloud what a user should know of."""
        for text in texts:
            self.log.event("warning", text)

    def train(self) -> None:
        """One step, from rows to moved weights."""
        number = self.progress.step
        seed_everything(self.config.train.seed, number, self.fabric.global_rank)
        lr = self.config.optimiser.lr * schedule.rate(self.config.optimiser, self.clock, number)
        for group in self.optimiser.param_groups:
            group["lr"] = lr

        with resumable_step(self):
            step = self.feed.step(number, self.weights(number))
            differentiate(self, self.wrapped(step))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average:
            self.average.update(self.learner.model, number)
        self.progress.step += 1
        self.log.step(self.progress.step, lr, step)

    def weights(self, number: int) -> dict[str, float]:
        """The weight of each loss term at a step."""
        loss = self.config.loss
        began = self.progress.consistency_began
        since = -1 if began is None or not self.labels else number - began
        ramp = self.clock.steps(loss.consistency_ramp)
        return {
            "classification": loss.classification,
            "segmentation": loss.segmentation,
            CONSISTENCY: schedule.grown(loss.consistency, since, ramp),
        } | {
            reference: loss.classification * self.clock.weight(guard.ramp(explainer), number)
            for reference, explainer in self.learner.method.explainers.items()
        }

    def consistency_due(self) -> bool:
        """Whether L_u joins at this step; a criterion is watched at epochs."""
        start = self.config.loss.consistency_start
        if not self.labels or self.progress.consistency_began is not None:
            return False
        if schedule.is_criterion(start):
            return self.progress.reached
        return self.progress.step >= self.clock.steps(start)

    def round_due(self) -> bool:
        """Whether a round of pseudo labels begins at this step."""
        began = self.progress.consistency_began
        if began is None or self.config.train.rounds == 1:
            return False
        since, length = self.progress.step - began, self.clock.total - began
        return self.progress.round < schedule.round_of(since, length, self.config.train.rounds)

    def begin_round(self, number: int) -> None:
        """Renew a frozen teacher, and let the fuser look at all rows."""
        self.progress.round = number
        if self.frozen:
            self.frozen.update(self.learner.model, self.progress.step)
        seed_everything(self.config.train.seed, self.progress.step, "round")
        teacher, unlabelled = self.learner.teacher(), self.streams.unlabelled
        with isolated(teacher), torch.no_grad(), self.fabric.autocast():
            guard.survey(
                self.learner.method.fuser,
                teacher,
                self.feed.batches(self.feed.labelled),
                self.feed.batches(unlabelled, self.feed.pool()),
            )

    def begin_consistency(self) -> None:
        """Rows that were held out calibrate the fuser and audit its labels; then L_u joins.

        Raises:
            RunError: under `audit.strict`, fusing makes worse labels than the decoder's own.
        """
        self.begin_round(0)
        self.expect()
        held, halves = self.streams.held, self.streams.halves
        learnt, judged = halves or (held, held)
        self.calibrate(learnt)
        if judged is not None:
            self.preflight(judged)
        if halves is not None:
            self.calibrate(held)
        self.progress.consistency_began = self.progress.step

    def preflight(self, rows: Subset) -> None:
        """Judge the labels before any is taught; nothing was trained on these rows so far."""
        record = self.audit(rows)
        found = verdict(record)
        judged = {"record": record, "verdict": found.word, "reason": found.reason}
        self.log.record("audit", when="preflight", rows=len(rows), **judged)
        worse = found.word == "worse"
        same = self.learner.method.calibrates and self.streams.halves is None
        kind = " (on the rows that calibrated it)" if same else ""
        said = f"pre-flight audit{kind}: {found.reason}"
        self.log.event("warning" if worse else "info", said)
        if worse and self.config.audit.strict:
            self.save()
            raise RunError(f"{self.folder.path}: {found.reason} (audit.strict)")

    def calibrate(self, rows: Subset | None) -> None:
        """Let a fuser that can learn from rows that nothing was trained on."""
        if rows is not None and self.learner.method.calibrates:
            self.ask(watch.calibrate, rows)

    def end_epoch(self) -> None:
        """Measure val, audit the labels, and keep the weights if they are the best so far."""
        epoch = ceil(self.progress.step / self.clock.epoch)
        measures = measure(self.evaluated, self.streams.val, self.learner.method, self.fabric)
        table = measures.compute() if len(self.streams.val) else {}
        self.log.record("epoch", epoch=epoch, measures=table)
        self.log.settle()
        self.log.observers.epoch_ended(self.log.run, epoch, self.progress.step, table)
        if self.progress.consistency_began is not None:
            self.calibrate(self.streams.held)
            self.watch_labels()
        elif self.labels and schedule.reached(self.config.loss.consistency_start, table):
            self.progress.reached = True
        value = selected(self.config.evaluate.select, table)
        if value is not None and (self.progress.best is None or value > self.progress.best):
            self.progress.best = value
            self.save_best()

    def expect(self) -> None:
        """Note what share of foreground is to be expected, for the drift alarm."""
        shares = [self.audit(self.streams.audited)["mean_decoder"]]
        shares.append(watch.labelled_share(self.streams.labelled))
        known = [share for share in shares if share is not None]
        self.progress.expected = (min(known), max(known)) if known else None

    def watch_labels(self) -> None:
        """Audit unlabelled rows, and raise the alarm where the mean label drifts."""
        record = self.audit(self.streams.audited)
        self.log.record("audit", when="epoch", rows=len(self.streams.audited), record=record)
        mean = record["mean_label"]
        if mean is None or self.progress.expected is None:
            return
        low, high = self.progress.expected
        alarm = Drift(factor=self.config.audit.drift).observe(mean, min(max(mean, low), high))
        if alarm and not self.progress.drifting:
            self.warn(alarm)
        self.progress.drifting = alarm is not None

    def audit(self, rows: Subset) -> Record:
        """Judge the labels that the teacher would give these rows now; no part remembers them."""
        with isolated(self.learner.states):
            return self.ask(watch.audit, rows)

    def ask(self, watched: Callable[..., T], rows: Subset) -> T:
        """What the teacher makes of rows, between two steps; explainers may be spared."""
        seed_everything(self.config.train.seed, self.progress.step, watched.__name__)
        failed: guard.Failed = {}
        with self.fabric.autocast():
            found = watched(
                self.learner.teacher(),
                self.learner.method,
                rows,
                debias=self.config.loss.debias,
                device=self.fabric.device,
                failed=failed if self.learner.isolates else None,
            )
        self.log.spared(failed, self.progress.step)
        return found

    def due(self, every: int) -> bool:
        """Whether something that happens every so many steps, and at the end, happens now."""
        step = self.progress.step
        return step % max(1, every) == 0 or step == self.clock.total

    def save(self) -> None:
        """Write a checkpoint from which the run goes on bit for bit.

        Raises:
            DivergedError: it would not get far; the checkpoints are as they were.
        """
        require_weights(p for p in self.learner.parameters() if p.requires_grad)
        self.progress.log_bytes = self.log.flush()
        if self.fabric.is_global_zero:
            path = checkpoint.step_path(self.folder.checkpoints, self.progress.step)
            checkpoint.save(path, gathered(self), self.progress, self.folder.config_hash())
            checkpoint.prune(self.folder.checkpoints, self.config.train.checkpoints)
        self.fabric.barrier()

    def save_best(self) -> None:
        """Keep the weights that are measured, as they are now."""
        if self.fabric.is_global_zero:
            tensors = checkpoint.prefixed("average", self.evaluated.state_dict())
            tensors |= checkpoint.prefixed("learner.states", self.learner.states.state_dict())
            path = self.folder.checkpoints / checkpoint.BEST
            checkpoint.save(path, tensors, self.progress, self.folder.config_hash())

    def restore(self, found: checkpoint.Checkpoint) -> None:
        """Go back to where a checkpoint was written.

        Raises:
            RunError: a part keeps other tensors than it did then; it is named.
        """
        put_back(self, found.tensors)
        for name, value in asdict(found.progress).items():
            setattr(self.progress, name, value)
        if self.fabric.is_global_zero:
            self.folder.rewind(self.progress.log_bytes)
