"""Predictive entropy of the masks (Yu et al., 2019), by noise on the image and dropout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import log
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from pseudolabel_kit.interfaces import Explainer, Family, Model, Prediction
from pseudolabel_kit.losses import comparable


@dataclass(frozen=True, kw_only=True)
class Uncertainty(Explainer):
    """The entropy of the mean answer to noisy copies of the image, 1 = a coin's.

    Dropout layers drop, where the model has any; all else stays in evaluation mode.

    Attributes:
        passes: T, forward passes.
        noise: standard deviation of the noise, in units of the image's range.
        limit: no pixel is changed by more.
    """

    family: ClassVar[Family] = "uncertainty"
    passes: Annotated[int, Field(ge=1)] = 8
    noise: Annotated[float, Field(ge=0)] = 0.1
    limit: Annotated[float, Field(ge=0, le=1)] = 0.2

    def explain(self, model: Model, images: Tensor, prediction: Prediction) -> Tensor:
        """(B,K,H,W): H / ln 2 of each mask channel's mean probability."""
        shape = prediction.need_masks("uncertainty").shape
        total = torch.zeros(shape, device=images.device)
        with torch.no_grad(), dropping(model):
            for _ in range(self.passes):
                logits = model(self._noisy(images)).need_masks("uncertainty").float()
                total += comparable(logits, self.task).sigmoid()
        return entropy(total / self.passes)

    def _noisy(self, images: Tensor) -> Tensor:
        noise = (torch.randn_like(images) * self.noise).clamp(-self.limit, self.limit)
        return (images + noise).clamp(0, 1)


def entropy(probability: Tensor) -> Tensor:
    """Entropy in bits of a binary variable: 0 at 0 and 1, 1 at one half.

    >>> entropy(torch.tensor([0.0, 0.5, 0.75]))
    tensor([0.0000, 1.0000, 0.8113])
    """
    nats: Tensor = torch.special.entr(probability) + torch.special.entr(1 - probability)
    return (nats / log(2)).clamp(0, 1)


@contextmanager
def dropping(model: Model) -> Iterator[None]:
    """Dropout layers of a model in evaluation mode drop, for as long as the block lasts."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    layers = [each for each in modules if isinstance(each, _DropoutNd) and not each.training]
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()
