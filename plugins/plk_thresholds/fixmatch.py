"""FixMatch (Sohn et al., 2020): hard labels above a confidence, nothing below it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from plk_thresholds.confidence import ByConfidence, Choice, Threshold


@dataclass(frozen=True, kw_only=True)
class FixMatch(ByConfidence):
    """A pixel counts where every mask channel is sure of itself, a row where its class is.

    Attributes:
        threshold: tau, the least confidence that counts.
    """

    threshold: Threshold = 0.95

    def weigh(self, choice: Choice) -> Tensor:
        """1[max q >= tau]."""
        return (choice.confidence >= self.threshold).float()
