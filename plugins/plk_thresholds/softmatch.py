"""SoftMatch (Chen et al., 2023): a weight that falls smoothly below the usual confidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from plk_thresholds.adaptive import Adaptive, Memory, batch_mean, processes
from plk_thresholds.confidence import Choice


@dataclass(frozen=True, kw_only=True)
class SoftMatch(Adaptive):
    """A truncated Gaussian of the confidence, its mean and variance followed over batches.

    Attributes:
        n_sigma: the Gaussian's deviation is sigma / n_sigma; 2 as in the authors' code, 1 is
            the plain Gaussian.
        align: weigh by probabilities that are scaled as if every category were equally
            frequent (uniform alignment); the labels stay as they are. Lesions are rare:
            on masks this doubts confident background and trusts lesion.
    """

    n_sigma: Annotated[float, Field(gt=0)] = 2.0
    align: bool = False

    def start(self, problems: int, categories: int) -> Mapping[str, Tensor]:
        """Mean 1/C and variance 1: everything counts."""
        mean = torch.full((problems,), 1 / categories)
        start = {"mean": mean, "variance": torch.ones(problems)}
        share = mean[:, None].repeat(1, categories)
        return start | {"share": share} if self.align else start

    def observe(self, choice: Choice, memory: Memory) -> Mapping[str, Tensor]:
        """Mean and unbiased variance of the confidence; the mean probabilities."""
        confidence = self.confidence(choice, memory)
        mean = batch_mean(confidence)
        n = confidence[:, 0].numel() * processes()
        variance = batch_mean((confidence - mean[:, None]).square()) * n / max(1, n - 1)
        seen = {"mean": mean, "variance": variance}
        return seen | {"share": batch_mean(choice.probability)} if self.align else seen

    def weigh_by(self, choice: Choice, memory: Memory) -> Tensor:
        """exp(-(max q - mean)^2 / (2 (sigma / n_sigma)^2)) below the mean, 1 above it."""
        below = (self.confidence(choice, memory) - memory["mean"][:, None]).clamp(max=0)
        variance = memory["variance"][:, None] / self.n_sigma**2
        return torch.exp(-below.square() / (2 * variance).clamp(min=torch.finfo(below.dtype).tiny))

    def confidence(self, choice: Choice, memory: Memory) -> Tensor:
        """(B,G,P): max q, or where `align`, the largest of q / E[q] scaled to sum 1."""
        if not self.align:
            return choice.confidence
        ratio = choice.probability / memory["share"][..., None].clamp(min=1e-6)
        return ratio.amax(dim=2) / ratio.sum(dim=2)
