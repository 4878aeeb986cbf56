"""FlexMatch (Zhang et al., 2021): a lower threshold for categories that are learnt more slowly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from plk_thresholds.adaptive import Adaptive, Memory, batch_mean
from plk_thresholds.confidence import Choice, Threshold


@dataclass(frozen=True, kw_only=True)
class FlexMatch(Adaptive):
    """Curriculum pseudo labelling, each category at its own pace.

    The learning status sigma(c) is the share of choices that pass tau as category c. The
    publication recounts it over the whole pool by the images' ids; pixels have none, so here
    it is a moving average over batches.

    Attributes:
        threshold: tau, what a category that is learnt best must reach.
    """

    threshold: Threshold = 0.95

    def start(self, problems: int, categories: int) -> Mapping[str, Tensor]:
        """Nothing is learnt yet."""
        return {"status": torch.zeros(problems, categories)}

    def observe(self, choice: Choice, memory: Memory) -> Mapping[str, Tensor]:
        """sigma(c) = mean 1[max q >= tau] 1[argmax q = c]."""
        sure = (choice.confidence >= self.threshold)[:, :, None]
        return {"status": batch_mean(choice.one_hot() * sure)}

    def weigh_by(self, choice: Choice, memory: Memory) -> Tensor:
        """1[max q >= T(argmax q)]."""
        return (choice.confidence >= choice.look_up(self.thresholds(memory))).float()

    def thresholds(self, memory: Memory) -> Tensor:
        """T(c) = tau beta / (2 - beta), (G,C), where beta(c) = sigma(c) / max(max sigma, unused).

        `unused` = 1 - sum sigma is the warm-up: all thresholds rise from 0.
        """
        status = memory["status"]
        unused = 1 - status.sum(dim=1, keepdim=True)
        beta = status / torch.maximum(status.amax(dim=1, keepdim=True), unused)
        return self.threshold * beta / (2 - beta)
