"""Averaged weights: what is evaluated, and the teacher of Mean Teacher."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """An exponential moving average of a model's weights.

    The decay grows with the step, min(decay, (1 + step) / (10 + step)), so that the first
    weights are soon forgotten.

    Args:
        model: copied; the copy stays in eval mode and needs no gradients.
        decay: in [0, 1); 0 follows the model exactly.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model's weights; its buffers are copied."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
