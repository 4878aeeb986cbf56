"""What to warn of: settings that train less than they seem to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pseudolabel_kit.engine import guard, schedule, watch
from pseudolabel_kit.engine.step import CONSISTENCY

if TYPE_CHECKING:
    from pseudolabel_kit.config import Config
    from pseudolabel_kit.engine.loop import Loop
    from pseudolabel_kit.engine.method import Method

LOW_RATE = 0.01  # of the first


def before(loop: Loop) -> Iterator[str]:
    """What can be told before the first step."""
    start, reads = loop.config.loss.consistency_start, loop.learner.method.fuser.reads
    if not loop.labels and reads != "nothing":
        yield "there are no unlabelled rows or loss.consistency is 0: L_u never joins"
    if loop.labels and schedule.is_criterion(start) and not len(loop.streams.val):
        yield f"there are no val rows to reach {start} on: L_u never joins"
    yield from _calibration(loop)
    yield from _rounds(loop)
    yield from joining(loop.config, loop.learner.method, loop.clock, labels=loop.labels)


def joining(
    config: Config, method: Method, clock: schedule.Clock, *, labels: bool
) -> Iterator[str]:
    """Loss terms that join after the run's end, or when next to nothing is learnt any more.

    Args:
        labels: whether pseudo labels are made at all.
    """
    ramps = {name: guard.ramp(each) for name, each in method.explainers.items()}
    starts = {name: ramp.start for name, ramp in ramps.items() if ramp.weight}
    if labels and not schedule.is_criterion(config.loss.consistency_start):
        starts[CONSISTENCY] = config.loss.consistency_start
    for name, start in starts.items():
        step = clock.steps(start)
        rate = schedule.rate(config.optimiser, clock, step)
        if step >= clock.total:
            yield f"loss term '{name}' joins at {start}, after the run's end: never"
        elif rate < LOW_RATE:
            yield (
                f"loss term '{name}' joins at {start}, when the learning rate is down to "
                f"{rate:.2g} of the first: it will train next to nothing"
            )


def _calibration(loop: Loop) -> Iterator[str]:
    method, held = loop.learner.method, loop.streams.held
    if loop.labels and method.calibrates and not (held and watch.labelled_share(held)):
        found = "none is" if held is None else f"of {len(held)} that are, no mask shows a lesion"
        yield (
            f"{method.fuser.origin} learns from labelled rows that are held out, but {found}: "
            "expected audit.holdout above 0 and two labelled patients with a lesion"
        )


def _rounds(loop: Loop) -> Iterator[str]:
    train, surveys = loop.config.train, loop.learner.method.surveys
    if train.rounds > 1 and not (train.progressive or surveys or loop.frozen):
        yield (
            f"train.rounds = {train.rounds} changes nothing: expected a frozen teacher, "
            "train.progressive, or a fuser that surveys all rows"
        )
    if train.progressive and train.rounds == 1:
        yield "train.progressive changes nothing in one round: expected train.rounds above 1"
    if train.progressive and loop.config.data.weak_labels:
        yield "train.progressive keeps class labels, too, from teaching before their row's round"


def after(loop: Loop) -> Iterator[str]:
    """What can be told after the last step: who failed, and for what L_u waited in vain."""
    began = loop.progress.consistency_began
    for reference, count in loop.progress.failures.items():
        steps = loop.clock.total - (began or 0)
        yield (
            f"explainer '{reference}' failed in {count} of {steps} steps; its evidence was left out"
        )
    if loop.labels and began is None and not loop.progress.reached:
        start, held = loop.config.loss.consistency_start, len(loop.streams.held or ())
        yield (
            f"L_u never joined: {start} was not reached; "
            f"{held} labelled rows were held out for nothing"
        )
