"""U-Net (Ronneberger et al., 2015): masks alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from plk_baselines.blocks import conv_block, mask_head, refuse_small, scaled
from pseudolabel_kit.interfaces import Backbone, Prediction, Task

FILTERS = (64, 128, 256, 512, 1024)


@dataclass(frozen=True, kw_only=True)
class UNet(Backbone):
    """Five levels of two 3x3 convolutions; 2x2 up-convolutions and skips on the way back.

    Unlike the publication, convolutions are padded, so that masks have the image's size, and
    followed by batch normalisation. It does not classify.

    Attributes:
        width: factor on the 64, 128, 256, 512, 1024 filters.
    """

    width: Annotated[float, Field(gt=0)] = 1.0

    def build(self, task: Task) -> nn.Module:
        """A `UNetNet` for the task's channels and masks.

        Raises:
            ConfigError: the task's images are smaller than 32x32.
        """
        refuse_small("unet", task.size)
        return UNetNet(task.channels, task.mask_channels, scaled(FILTERS, self.width))


class UNetNet(nn.Module):
    """Encoder levels, shallowest first; up-convolutions and decoder levels, deepest first."""

    def __init__(self, channels: int, masks: int, filters: Sequence[int]) -> None:
        super().__init__()
        inputs = (channels, *filters[:-1])
        self.encoder = nn.ModuleList(
            conv_block(source, (count, count))
            for source, count in zip(inputs, filters, strict=True)
        )
        steps = list(zip(filters[:0:-1], filters[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(below, skip, 2, 2) for below, skip in steps)
        self.decoder = nn.ModuleList(conv_block(2 * skip, (skip, skip)) for _, skip in steps)
        self.mask_head = mask_head(filters[0], masks, kernel=1)

    def forward(
        self,
        images: Tensor,
        on_features: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]] | None = None,
    ) -> Prediction:
        """Mask logits (B,K,H,W); `on_features` changes all five levels before the decoder."""
        features: list[Tensor] = []
        for level in self.encoder:
            features.append(level(F.max_pool2d(features[-1], 2) if features else images))
        *skips, x = on_features(tuple(features)) if on_features else features
        for up, level, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            # A side that was halved from an odd length grows back to it.
            x = level(torch.cat((skip, up(x, output_size=skip.shape[-2:])), dim=1))
        return Prediction(mask_logits=self.mask_head(x))
