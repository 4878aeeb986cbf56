"""Pseudo-Label (Lee, 2013): the likeliest category is the truth."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from plk_thresholds.confidence import ByConfidence, Choice


@dataclass(frozen=True, kw_only=True)
class PseudoLabel(ByConfidence):
    """Every pixel and every row counts in full, however unsure; the run ramps L_u up slowly."""

    def weigh(self, choice: Choice) -> Tensor:
        """1 everywhere."""
        return choice.confidence.new_ones(choice.confidence.shape)
