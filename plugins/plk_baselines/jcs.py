"""JCS (Wu et al., 2021): classification and segmentation jointly, each with its own encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from timm.models.res2net import Bottle2neck
from timm.models.resnet import ResNet
from torch import Tensor, nn
from torchvision.ops import (  # type: ignore[import-untyped]
    Conv2dNormActivation,
    SqueezeExcitation,
)

from plk_baselines.blocks import conv_block, mask_head, refuse_small, scaled
from plk_baselines.maps import resized
from pseudolabel_kit.interfaces import Backbone, Batch, LossTerm, Prediction, Scale, Task
from pseudolabel_kit.losses import classification, dice, segmentation

FILTERS = (64, 128, 256, 512, 512)  # VGG-16
LAYERS = (2, 2, 3, 3, 3)
RATES = (1, 3, 6, 9)  # of the dilated convolutions, one a group
BRANCH_FILTERS = (64, 128, 256, 512)  # Res2Net-50, a quarter of its outputs
BRANCH_LAYERS = (3, 4, 6, 3)


@dataclass(frozen=True, kw_only=True)
class Jcs(Backbone):
    """A Res2Net that classifies, whose features enhance those of a VGG-16 that segments.

    The two are trained together from the first step; the publication trains each by itself and
    joins them afterwards. Batch normalisation: in training, rows see their batch. Images may
    have any size from 32x32, odd ones too; below 64x64 a batch needs two rows or more.

    Attributes:
        width: factor on the filters of both encoders; 1 is the published size.
    """

    weighs_background: ClassVar[bool] = False
    width: Annotated[float, Field(ge=0.0625)] = 1.0

    def build(self, task: Task) -> nn.Module:
        """A `JcsNet` for the task's channels, classes and masks.

        Raises:
            ConfigError: the task's images are smaller than 32x32.
        """
        refuse_small("jcs", task.size)
        return JcsNet(task.channels, len(task.classes), task.mask_channels, self.width)

    def loss(self, prediction: Prediction, batch: Batch) -> Mapping[str, LossTerm]:
        """CE on classes; BCE and Dice on the finest map and, summed, on the four coarser ones."""
        w = self.task.background_weight
        finest = bce_and_dice(prediction.need_masks("jcs"), batch, w)
        coarser = [bce_and_dice(side, batch, w) for side in prediction.sides]
        total = torch.stack([term.total for term in coarser]).sum(dim=0)
        scores = prediction.need_classes("jcs")
        return {
            "classification": classification(scores, batch.label, batch.has_label),
            "segmentation": finest,
            "segmentation.sides": LossTerm(total=total, count=finest.count),
        }


def bce_and_dice(logits: Tensor, batch: Batch, background_weight: float) -> LossTerm:
    """Weighted BCE (eq. 11) plus soft Dice on mask logits (B,K,h,w), enlarged to the mask."""
    logits = resized(logits, batch.mask)
    pixels = segmentation(logits, batch.mask, batch.has_mask, background_weight)
    overlap = dice(logits, batch.mask, batch.has_mask)
    return LossTerm(total=pixels.total + overlap.total, count=pixels.count)


class JcsNet(nn.Module):
    """Two encoders; where they have maps of one size (1/4, 1/8, 1/16), they are fused.

    `sides` are the logits of the four coarser decoder stages, finest first, (B,K,h,w).
    """

    def __init__(self, channels: int, classes: int, masks: int, width: float) -> None:
        super().__init__()
        guests = scaled(BRANCH_FILTERS, width)
        self.branch = _res2net(channels, classes, guests)
        filters = scaled(FILTERS, width)
        shapes = zip((channels, *filters[:-1]), filters, LAYERS, strict=True)
        self.encoder = nn.ModuleList(
            [conv_block(source, [count] * layers) for source, count, layers in shapes]
        )
        pairs = zip(filters[2:], guests[:3], strict=True)
        self.enhance = nn.ModuleList(
            [AttentiveFusion(own + Bottle2neck.expansion * guest, own) for own, guest in pairs]
        )
        self.pyramid = GroupedDilation(filters[-1])
        steps = zip(filters[3::-1], filters[:0:-1], strict=True)
        self.decoder = nn.ModuleList([AttentiveFusion(own + deep, own) for own, deep in steps])
        self.heads = nn.ModuleList([mask_head(count, masks, 1) for count in filters])

    def forward(self, images: Tensor) -> Prediction:
        """Class logits (B,N), mask logits (B,K,H,W), the classified scale and four sides."""
        refuse_small("jcs", images.shape[-2:])
        deepest, guests = self.branch.forward_intermediates(images, indices=[1, 2, 3])
        finest, *coarser = self._segment(images, list(guests))
        weight = self.branch.get_classifier().get_parameter("weight")
        return Prediction(
            class_logits=self.branch.forward_head(deepest),
            mask_logits=finest,
            scales=(Scale(features=deepest, weight=weight),),
            sides=tuple(coarser),
        )

    def classify(self, images: Tensor) -> Tensor:
        """Class logits (B,N) alone; nothing is segmented."""
        refuse_small("jcs", images.shape[-2:])
        logits: Tensor = self.branch(images)
        return logits

    def _segment(self, images: Tensor, guests: Sequence[Tensor]) -> list[Tensor]:
        """The five stages' mask logits, finest first."""
        features: list[Tensor] = []
        x = images
        for level, stage in enumerate(self.encoder):
            x = stage(nn.functional.max_pool2d(x, 2) if level else x)
            if level >= 2:
                x = self.enhance[level - 2](x, guests[level - 2])
            features.append(x)
        decoded = [self.pyramid(x)]
        for fusion, skip in zip(self.decoder, features[3::-1], strict=True):
            decoded.append(fusion(skip, decoded[-1]))
        return [head(x) for head, x in zip(self.heads, reversed(decoded), strict=True)]


class AttentiveFusion(nn.Module):
    """Two maps side by side, their channels weighed by what the image needs, then convolved."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.attention = SqueezeExcitation(inputs, max(1, inputs // 4))
        self.mix = Conv2dNormActivation(inputs, outputs)

    def forward(self, own: Tensor, guest: Tensor) -> Tensor:
        """(B,outputs,h,w) at the size of `own`, whatever that of `guest`."""
        both = torch.cat((own, resized(guest, own)), dim=1)
        mixed: Tensor = self.mix(self.attention(both))
        return mixed


class GroupedDilation(nn.Module):
    """Groups of channels, each dilated at its own rate, together a pyramid of fields of view."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        group = max(1, channels // 2)
        self.widen = Conv2dNormActivation(channels, group * len(RATES), kernel_size=1)
        self.groups = nn.ModuleList(
            [Conv2dNormActivation(group, group, dilation=rate) for rate in RATES]
        )
        self.attention = SqueezeExcitation(group * len(RATES), group)
        self.narrow = Conv2dNormActivation(group * len(RATES), channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B,D,h,w) as it came, with a wider view."""
        parts = self.widen(x).chunk(len(RATES), dim=1)
        seen = [group(part) for group, part in zip(self.groups, parts, strict=True)]
        narrow: Tensor = self.narrow(self.attention(torch.cat(seen, dim=1)))
        return narrow


def _res2net(channels: int, classes: int, filters: Sequence[int]) -> ResNet:
    """Res2Net-50 (Gao et al., 2021) of four groups, its stem three 3x3 convolutions."""
    return ResNet(
        Bottle2neck,  # type: ignore[arg-type]
        BRANCH_LAYERS,
        num_classes=classes,
        in_chans=channels,
        base_width=26,
        stem_width=filters[0] // 2,
        stem_type="deep",
        channels=tuple(filters),
        block_args={"scale": 4},
    )
