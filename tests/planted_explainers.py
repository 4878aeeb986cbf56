"""Explainers that keep every promise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pseudolabel_kit.interfaces import Batch, Explainer, LossTerm, Prediction, Task
from pseudolabel_kit.losses import segmentation


@dataclass(frozen=True, kw_only=True)
class Sound(Explainer):
    """The slope of the predicted class, over its largest value in the image."""

    def explain(self, model: Any, images: Tensor, prediction: Prediction) -> Tensor:
        label = prediction.need_classes(self.origin).argmax(dim=1)
        with torch.enable_grad():
            pixels = images.detach().clone().requires_grad_()
            score = self.score(model, pixels)[torch.arange(len(label)), label].sum()
            slope = self.slope(model, score, pixels)
        sizes = slope.float().abs().mean(dim=1, keepdim=True)
        found = sizes / sizes.amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
        self.leave(model, images)
        return found

    def score(self, model: Any, pixels: Tensor) -> Tensor:
        scores: Tensor = model.classify(pixels)
        return scores

    def slope(self, model: Any, score: Tensor, pixels: Tensor) -> Tensor:
        return torch.autograd.grad(score, pixels)[0]

    def leave(self, model: Any, images: Tensor) -> None:
        pass


# ── innocents ───────────────────────────────────────────────────────────────────────


class Noisy(Sound):
    """SmoothGrad, of one draw."""

    def score(self, model: Any, pixels: Tensor) -> Tensor:
        return super().score(model, pixels + 0.1 * torch.randn_like(pixels))


class Hooked(Sound):
    """Registers hooks, changes modes, and puts all back."""

    def score(self, model: Any, pixels: Tensor) -> Tensor:
        handles = [m.register_forward_hook(lambda *_: None) for m in model.modules()]
        frozen = [p.requires_grad for p in model.parameters()]
        model.eval().requires_grad_(False)
        found = super().score(model, pixels)
        for parameter, before in zip(model.parameters(), frozen, strict=True):
            parameter.requires_grad_(before)
        for handle in handles:
            handle.remove()
        return found


class Learning(Sound):
    """A head on the decoder's answer, trained by rows with a mask."""

    def make_state(self, task: Task) -> nn.Module:
        return nn.Conv2d(task.mask_channels, task.mask_channels, 1)

    def explain(self, model: Any, images: Tensor, prediction: Prediction) -> Tensor:
        with torch.no_grad():
            return self.logits(prediction).float().sigmoid()

    def logits(self, prediction: Prediction) -> Tensor:
        assert self.state is not None
        found: Tensor = self.state(prediction.need_masks(self.origin))
        return found

    def loss(self, prediction: Prediction, batch: Batch) -> LossTerm | None:
        return segmentation(self.logits(prediction), batch.mask, batch.has_mask, 1.0)
