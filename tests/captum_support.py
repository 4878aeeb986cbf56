"""Small classifiers for the tests of attributions that look inside them."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from pseudolabel_kit.interfaces import Prediction


class Classifier(nn.Module):
    """Any network of class logits as a model."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.eval().requires_grad_(False)

    def classify(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits

    def forward(self, images: Tensor) -> Prediction:
        return Prediction(class_logits=self.classify(images))


def stack(*layers: nn.Module, features: int = 6) -> Classifier:
    """The layers, then the mean over pixels and a linear head of three classes."""
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, 3))
    return Classifier(nn.Sequential(*layers, *head))


def plain(channels: int = 1, seed: int = 0) -> Classifier:
    """Two convolutions with ReLU: a network that captum treats rightly without help."""
    torch.manual_seed(seed)
    return stack(
        nn.Conv2d(channels, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.ReLU(),
    )


def directly(method: Any, images: Tensor, label: Tensor, **options: Any) -> Tensor:
    """captum's own call, with its warnings about hooks unheard."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: Tensor = method.attribute(images.clone().requires_grad_(), target=label, **options)
    return found.detach()
