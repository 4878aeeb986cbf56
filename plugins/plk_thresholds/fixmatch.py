"""FixMatch (Sohn et al., 2020): hard labels above a confidence, nothing below it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pseudolabel_kit.interfaces import Evidence, Fuser, Prediction, PseudoLabels


@dataclass(frozen=True, kw_only=True)
class FixMatch(Fuser):
    """A pixel counts where every mask channel is sure of itself, a row where its class is.

    A mask channel's confidence is max(p, 1-p), a class's its softmax probability.

    Attributes:
        threshold: the least confidence that counts.
        targets: what is pseudo-labelled: masks, classes, or both.
    """

    reads: ClassVar[Literal["evidence", "prediction", "nothing"]] = "prediction"
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.95
    targets: Literal["mask", "class", "both"] = "mask"

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        """Hard masks (B,K,H,W) and one-hot labels (B,N), with weights 0 or 1."""
        mask, mask_weight = self._masks(prediction.mask_logits.float())
        if self.targets == "mask":
            return PseudoLabels(mask=mask, mask_weight=mask_weight)
        if self.targets == "class":
            mask_weight = torch.zeros_like(mask_weight)
        label, label_weight = self._labels(prediction.class_logits.float())
        return PseudoLabels(
            mask=mask, mask_weight=mask_weight, label=label, label_weight=label_weight
        )

    def _masks(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        confidence = torch.sigmoid(logits.abs()).amin(dim=1, keepdim=True)
        return (logits >= 0).float(), (confidence >= self.threshold).float()

    def _labels(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        confidence, best = torch.softmax(logits, dim=1).max(dim=1)
        return F.one_hot(best, logits.shape[1]).float(), (confidence >= self.threshold).float()
