"""Input times gradient: what integrated gradients says on one step of the path."""

from __future__ import annotations

from dataclasses import dataclass

import captum.attr  # type: ignore[import-untyped]
from torch import Tensor

from plk_captum.adapter import ask
from pseudolabel_kit.attribution import Attribution, ClassScores


@dataclass(frozen=True, kw_only=True)
class InputXGradient(Attribution):
    """(x - x') dF/dx: the right Riemann sum of eq. 7 with t = 1, at 1/t of its cost.

    From black it is the input x gradient of Shrikumar et al. (2016). On instance-normalised
    networks it ranks pixels about as the sum of 8 steps does (correlation 0.999 from black).
    """

    def attribute(self, scores: ClassScores, images: Tensor, base: Tensor, label: Tensor) -> Tensor:
        """Signed attributions (B,C,H,W)."""
        return (images - base) * ask(captum.attr.Saliency(scores), images, label, abs=False)
