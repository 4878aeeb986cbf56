"""Backbones that keep every promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from pseudolabel_kit.interfaces import Backbone, Prediction, Scale, Task

WIDTH = 7


class Net(nn.Module):
    """One convolution, a linear head on its means, a decoder of one layer."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.stem = nn.Conv2d(task.channels, WIDTH, 3, padding=1)
        self.norm = nn.BatchNorm2d(WIDTH)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(WIDTH, len(task.classes))
        self.masks = nn.Conv2d(WIDTH, task.mask_channels, 1)

    def encode(self, images: Tensor) -> Tensor:
        found: Tensor = self.norm(self.stem(images)).relu()
        return found

    def classify(self, images: Tensor) -> Tensor:
        return self.score(self.encode(images))

    def score(self, features: Tensor) -> Tensor:
        found: Tensor = self.head(features.mean(dim=(2, 3)))
        return found

    def forward(
        self, images: Tensor, on_features: Callable[..., tuple[Tensor, ...]] | None = None
    ) -> Prediction:
        features = self.encode(images)
        (changed,) = on_features((features,)) if on_features else (features,)
        return Prediction(
            class_logits=self.score(features),
            mask_logits=self.masks(self.dropout(changed)),
            scales=(Scale(features=features, weight=self.weight()),),
            sides=self.sides(features),
        )

    def weight(self) -> Tensor:
        return self.head.weight

    def sides(self, features: Tensor) -> tuple[Tensor, ...]:
        return (features.mean(dim=1),)


@dataclass(frozen=True, kw_only=True)
class Sound(Backbone):
    """A network of one layer."""

    network: ClassVar[Callable[[Task], Any]] = Net

    def build(self, task: Task) -> nn.Module:
        return type(self).network(task)  # type: ignore[no-any-return]


# ── innocents ───────────────────────────────────────────────────────────────────────


class ClassesNet(Net):
    def forward(self, images: Tensor) -> Prediction:  # type: ignore[override]
        return Prediction(class_logits=self.classify(images))


class ClassesAlone(Sound):
    """Never segments; what would is frozen."""

    network = ClassesNet

    def build(self, task: Task) -> nn.Module:
        net = super().build(task)
        net.get_submodule("masks").requires_grad_(False)
        return net


class MasksNet(Net):
    classify = None  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Prediction:  # type: ignore[override]
        return Prediction(mask_logits=self.masks(self.encode(images)))


class MasksAlone(Sound):
    """Never classifies; what would is frozen."""

    network = MasksNet

    def build(self, task: Task) -> nn.Module:
        net = super().build(task)
        net.get_submodule("head").requires_grad_(False)
        return net


class QuietNet(Net):
    """Its logits begin a little above 0, all of them."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        for head in (self.head, self.masks):
            for parameter in head.parameters():
                nn.init.constant_(parameter, 1e-3)


class BeginsQuietly(Sound):
    """Answers what could be probabilities, until it has learnt something."""

    network = QuietNet
