"""UA-MT (Yu et al., 2019): Mean Teacher on the pixels where the teacher is certain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from plk_rivals.mean_teacher import squared_error
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import Evidence, Fuser, LossTerm, Prediction, PseudoLabels, Task

LEAST = 0.75  # the threshold at the start, as a share of the largest entropy
STEEPNESS = 5.0  # of the ramp exp(-5 (1 - t)^2) (Laine & Aila, 2017)


@dataclass(frozen=True, kw_only=True)
class UncertaintyAware(Fuser):
    """Pixels whose uncertainty is below a threshold, which grows from 0.75 to 1.

    Attributes:
        ramp: how many batches of pseudo labels the threshold grows over.
    """

    reads: ClassVar[Literal["evidence", "prediction", "nothing"]] = "evidence"
    ramp: Annotated[int, Field(ge=1)] = 500

    def make_state(self, task: Task) -> nn.Module:
        """How many batches were labelled."""
        state = nn.Module()
        state.register_buffer("batches", torch.tensor(0))
        return state

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        """Probabilities (B,K,H,W), with weight 1 where every map and channel is certain.

        Raises:
            PluginError: there is no evidence of the family "uncertainty".
        """
        mask = prediction.need_masks("ua-mt").float().sigmoid()
        doubts = [each.map for each in evidence.values() if each.family == "uncertainty"]
        if not doubts:
            raise PluginError(
                "ua-mt: no explainer tells how uncertain pixels are: "
                "expected one that does, such as --explainer uncertainty"
            )
        doubt = torch.cat(doubts, dim=1).amax(dim=1, keepdim=True)
        weight = (doubt < self.threshold()).to(mask.dtype)
        self._batches.add_(1)
        return PseudoLabels(mask=mask, mask_weight=weight)

    def threshold(self) -> Tensor:
        """The least uncertainty that is ignored, as a share of the largest there can be."""
        left = 1 - (self._batches / self.ramp).clamp(max=1)
        return LEAST + (1 - LEAST) * torch.exp(-STEEPNESS * left.square())

    def loss(
        self, student: Prediction, pseudo: PseudoLabels, labelled: Prediction
    ) -> Mapping[str, LossTerm]:
        """The squared error, its mean over the certain pixels of all rows."""
        if pseudo.mask is None or pseudo.mask_weight is None:
            return {}
        logits = student.need_masks("ua-mt")
        error = squared_error(logits, pseudo.mask, self.task).mean(dim=1)
        weight = pseudo.mask_weight[:, 0]
        return {
            "mask": LossTerm(total=(error * weight).sum(dim=(1, 2)), count=weight.sum(dim=(1, 2)))
        }

    @property
    def _batches(self) -> Tensor:
        assert self.state is not None
        return self.state.get_buffer("batches")
