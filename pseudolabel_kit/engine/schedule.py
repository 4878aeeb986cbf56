"""When each loss term joins and how the learning rate falls: pure functions of the step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, cos, pi

from pseudolabel_kit.config import OptimiserConfig
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Ramp
from pseudolabel_kit.plugin.moment import PATTERN, WRITTEN

POWER = 0.9  # of the polynomial schedule (Liu et al., 2015)
_MOMENT = re.compile(f"(?={PATTERN}$)(?P<number>[\\d.]+)(?P<unit>.+)")
_CRITERION = re.compile(r"val\.(?P<measure>[a-z_]+)>=(?P<bound>\d*\.?\d+)")


@dataclass(frozen=True)
class Clock:
    """The length of a run, to turn written moments into steps.

    >>> clock = Clock(total=600, epoch=30)
    >>> clock.steps("20%"), clock.steps("2epochs"), clock.steps("50steps")
    (120, 60, 50)
    """

    total: int
    epoch: int

    def steps(self, moment: str) -> int:
        """The number of steps until a moment like "20%", "2epochs" or "50steps".

        Raises:
            ConfigError: the moment is written in none of these ways.
        """
        match = _MOMENT.fullmatch(moment)
        if match is None:
            raise ConfigError(f"'{moment}' is no moment: expected {WRITTEN}")
        unit = {"%": self.total / 100, "e": self.epoch, "s": 1}[match["unit"][0]]
        return round(float(match["number"]) * unit)

    def weight(self, ramp: Ramp, step: int) -> float:
        """The weight at a step: 0 before the start, then linear over the length."""
        return grown(ramp.weight, step - self.steps(ramp.start), self.steps(ramp.length))


def grown(weight: float, since: int, length: int) -> float:
    """A linear ramp; its first step already counts.

    >>> [grown(1.0, since, 4) for since in (-1, 0, 1, 3, 9)]
    [0.0, 0.25, 0.5, 1.0, 1.0]
    """
    if since < 0:
        return 0.0
    return weight if length <= 0 else weight * min(1.0, (since + 1) / length)


def round_of(since: int, length: int, rounds: int) -> int:
    """Which of `rounds` equal rounds holds step `since` of a phase of `length` steps; from 0.

    >>> [round_of(since, 10, 3) for since in (0, 3, 4, 7, 9)]
    [0, 0, 1, 2, 2]
    """
    return since * rounds // length


def reached(criterion: str, measures: Mapping[str, float | None]) -> bool:
    """Whether measures on val satisfy a criterion like "val.dice>=0.5"; no other start is one."""
    match = _CRITERION.fullmatch(criterion)
    if match is None:
        return False
    value = measures.get(match["measure"])
    return value is not None and value >= float(match["bound"])


def is_criterion(start: str) -> bool:
    """Whether a start waits for a measure rather than for a moment."""
    return start.startswith("val.")


def rate(config: OptimiserConfig, clock: Clock, step: int) -> float:
    """The learning rate at a step, as a share of the first, in (0, 1]."""
    if config.schedule == "cosine":
        fall = 0.5 * (1 + cos(pi * step / clock.total))
        return config.floor + (1 - config.floor) * fall
    if config.schedule == "poly":
        return float((1 - step / clock.total) ** POWER)
    if config.schedule == "step":
        return float(config.step_factor ** (step // max(1, clock.steps(config.step_every))))
    return 1.0


def epoch_length(labelled: int, unlabelled: int, batch: int, unlabelled_batch: int) -> int:
    """Steps that pass once over the longer stream, whatever the fuser reads.

    >>> epoch_length(24, 240, 8, 8)
    30
    """
    return max(ceil(labelled / batch), ceil(unlabelled / unlabelled_batch), 1)
