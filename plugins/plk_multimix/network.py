"""MultiMix's network (Haque et al., 2021): a U-Net that classifies, and a saliency bridge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Backbone, Batch, LossTerm, Prediction, Scale, Task
from pseudolabel_kit.losses import classification, dice

FILTERS = (16, 32, 64, 128, 256)
RARE = 0.05  # the share of foreground that the untrained decoder answers everywhere
SMALLEST = 32  # pixels a side, so that conv5 still has 2x2 of them to normalise over


@dataclass(frozen=True, kw_only=True)
class MultiMix(Backbone):
    """Five levels, classes from the deepest; the decoder is told what the classifier looks at.

    Instance normalisation: no statistics are shared between the images of a batch. Images may
    have any size from 32x32, odd ones too.

    Attributes:
        width: factor on the 16, 32, 64, 128, 256 filters.
        dropout: after each block, in training alone.
    """

    weighs_background: ClassVar[bool] = False
    width: Annotated[float, Field(gt=0)] = 1.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25

    def build(self, task: Task) -> nn.Module:
        """A `MultiMixNet` for the task's channels, classes and masks.

        Raises:
            ConfigError: the task's images are smaller than 32x32.
        """
        _refuse_small(*task.size)
        return MultiMixNet(
            channels=task.channels,
            classes=len(task.classes),
            masks=task.mask_channels,
            filters=[max(1, round(count * self.width)) for count in FILTERS],
            dropout=self.dropout,
        )

    def loss(self, prediction: Prediction, batch: Batch) -> Mapping[str, LossTerm]:
        """Cross-entropy on classes, soft Dice on masks; no background weight has a place in it."""
        scores, masks = prediction.need_classes("multimix"), prediction.need_masks("multimix")
        return {
            "classification": classification(scores, batch.label, batch.has_label),
            "segmentation": dice(masks, batch.mask, batch.has_mask),
        }


class MultiMixNet(nn.Module):
    """Encoder conv1..conv5, a linear classifier on the mean of conv5, a decoder with a bridge.

    The bridge is the image and the size of the classifier's gradient on it, both at conv4's
    size, an eighth; the first decoder block reads them beside conv5 and conv4.
    """

    def __init__(
        self, *, channels: int, classes: int, masks: int, filters: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        inputs = (channels, *filters[:-1])
        self.encoder = nn.ModuleList(map(_block, inputs, filters))
        self.classifier = nn.Linear(filters[-1], classes)
        joined = [below + skip for below, skip in zip(filters[:0:-1], filters[-2::-1], strict=True)]
        joined[0] += 2 * channels
        self.decoder = nn.ModuleList(map(_block, joined, filters[-2::-1]))
        self.mask_head = nn.Conv2d(filters[0], masks, 1)
        # Dice hardly teaches rows without lesion while much is marked: begin with little.
        nn.init.constant_(self.mask_head.bias, log(RARE / (1 - RARE)))  # type: ignore[arg-type]

    def forward(
        self,
        images: Tensor,
        on_features: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]] | None = None,
    ) -> Prediction:
        """Class logits (B,N), mask logits (B,K,H,W) and the classified scale, conv5.

        Args:
            images: (B,C,H,W) in [0, 1].
            on_features: changes conv1..conv5 on their way to the decoder.
        """
        features = self._encode(images, noisy=True)
        bridge = torch.cat((images, self.saliency(images)), dim=1)
        return Prediction(
            class_logits=self._classify(features[-1]),
            mask_logits=self._decode(on_features(features) if on_features else features, bridge),
            scales=(Scale(features=features[-1], weight=self.classifier.weight),),
        )

    def classify(self, images: Tensor) -> Tensor:
        """Class logits (B,N) alone; neither bridge nor decoder is run."""
        return self._classify(self._encode(images, noisy=True)[-1])

    def saliency(self, images: Tensor) -> Tensor:
        """|d max class logit / d image| (B,C,H,W), detached; also where gradients are off.

        Without dropout, in training too, as the authors do: one image has one saliency. The
        gradient is that of the pixels alone: no parameter's `.grad` is touched.
        """
        with torch.inference_mode(False), torch.enable_grad():
            pixels = images.detach().clone().requires_grad_()
            best = self._classify(self._encode(pixels, noisy=False)[-1]).max(dim=1).values
            (gradient,) = torch.autograd.grad(best.sum(), pixels)
        return gradient.abs()

    def _encode(self, images: Tensor, *, noisy: bool) -> tuple[Tensor, ...]:
        _refuse_small(*images.shape[-2:])
        features: list[Tensor] = []
        x = images
        for block in self.encoder:
            x = block(F.max_pool2d(x, 2) if features else x)
            x = self.dropout(x) if noisy else x
            features.append(x)
        return tuple(features)

    def _classify(self, conv5: Tensor) -> Tensor:
        logits: Tensor = self.classifier(conv5.mean(dim=(2, 3)))
        return logits

    def _decode(self, features: Sequence[Tensor], bridge: Tensor) -> Tensor:
        x, conv4, *shallow = reversed(features)
        skips = [torch.cat((conv4, _resized(bridge, conv4)), dim=1), *shallow]
        for block, skip in zip(self.decoder, skips, strict=True):
            x = block(torch.cat((_resized(x, skip), skip), dim=1))
            x = self.dropout(x)
        logits: Tensor = self.mask_head(x)
        return logits


def _resized(planes: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(planes, size=like.shape[-2:], mode="bilinear")


def _block(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 convolution, instance norm, leaky ReLU, twice."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),  # the norm would undo a bias
        nn.InstanceNorm2d(outputs),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.InstanceNorm2d(outputs),
        nn.LeakyReLU(0.2, inplace=True),
    )


def _refuse_small(height: int, width: int) -> None:
    if min(height, width) < SMALLEST:
        raise ConfigError(
            f"multimix: images of {height}x{width} pixels are too small: "
            f"expected at least {SMALLEST}x{SMALLEST}"
        )
