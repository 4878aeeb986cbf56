"""No pseudo labels: what every method has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from pseudolabel_kit.interfaces import Evidence, Fuser, Prediction, PseudoLabels


@dataclass(frozen=True, kw_only=True)
class Nothing(Fuser):
    """Ignores every pixel: the run is supervised, unlabelled rows are not even read."""

    reads: ClassVar[Literal["evidence", "prediction", "nothing"]] = "nothing"

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        """The decoder's own masks (B,K,H,W), with weight 0."""
        mask = torch.sigmoid(prediction.mask_logits.float())
        return PseudoLabels(mask=mask, mask_weight=torch.zeros_like(mask[:, :1]))
