"""Saliency: how fast the class score moves with each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import captum.attr  # type: ignore[import-untyped]
from torch import Tensor

from plk_captum.adapter import ask
from pseudolabel_kit.attribution import ClassEvidence, ClassScores


@dataclass(frozen=True, kw_only=True)
class Saliency(ClassEvidence):
    """max over channels of |dF/dx| (Simonyan et al., 2014, section 3.1)."""

    def credit(self, scores: ClassScores, images: Tensor, label: Tensor) -> Tensor:
        """(B,1,H,W) >= 0."""
        return ask(captum.attr.Saliency(scores), images, label).amax(dim=1, keepdim=True)
