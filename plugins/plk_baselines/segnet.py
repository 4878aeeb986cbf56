"""SegNet (Badrinarayanan et al., 2017): a decoder that remembers where the maxima were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from plk_baselines.blocks import conv_block, mask_head, refuse_small, scaled
from pseudolabel_kit.interfaces import Backbone, Prediction, Task

FILTERS = (64, 128, 256, 512, 512)  # VGG-16's thirteen convolutions
LAYERS = (2, 2, 3, 3, 3)


@dataclass(frozen=True, kw_only=True)
class SegNet(Backbone):
    """VGG-16's convolutions with batch normalisation, and their mirror image as a decoder.

    Nothing but the positions of the maxima of each 2x2 pool crosses from the encoder to the
    decoder, which puts each value back where it came from and fills the gaps by convolution.
    It does not classify. Weights start at random; the publication's encoder was pretrained.

    Attributes:
        width: factor on the 64, 128, 256, 512, 512 filters.
    """

    width: Annotated[float, Field(gt=0)] = 1.0

    def build(self, task: Task) -> nn.Module:
        """A `SegNetNet` for the task's channels and masks.

        Raises:
            ConfigError: the task's images are smaller than 32x32.
        """
        refuse_small("segnet", task.size)
        return SegNetNet(task.channels, task.mask_channels, scaled(FILTERS, self.width))


class SegNetNet(nn.Module):
    """Encoder blocks, shallowest first; decoder blocks, deepest first."""

    def __init__(self, channels: int, masks: int, filters: Sequence[int]) -> None:
        super().__init__()
        inputs = (channels, *filters[:-1])
        shapes = list(zip(inputs, filters, LAYERS, strict=True))
        self.encoder = nn.ModuleList(
            conv_block(source, (count,) * layers) for source, count, layers in shapes
        )
        # The mirror image: each block's last convolution returns to the encoder block's input.
        # The mask head stands in for the very last one.
        self.decoder = nn.ModuleList(
            conv_block(count, (*(count,) * (layers - 1), source))
            for source, count, layers in shapes[:0:-1]
        )
        self.decoder.append(conv_block(filters[0], (filters[0],)))
        self.mask_head = mask_head(filters[0], masks, kernel=3)

    def forward(
        self,
        images: Tensor,
        on_features: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]] | None = None,
    ) -> Prediction:
        """Mask logits (B,K,H,W); `on_features` changes the one map that the decoder starts from."""
        x, pools = images, []
        for block in self.encoder:
            x = block(x)
            size = x.shape[-2:]
            x, indices = F.max_pool2d(x, 2, return_indices=True)
            pools.append((indices, size))
        if on_features is not None:
            (x,) = on_features((x,))
        for block, (indices, size) in zip(self.decoder, reversed(pools), strict=True):
            x = block(unpooled(x, indices, size))
        return Prediction(mask_logits=self.mask_head(x))


def unpooled(maps: Tensor, indices: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (B,D,h,w) with each value back at the pixel that it came from, 0 elsewhere.

    What `F.max_unpool2d` does; it is not used since torch takes it for undeterministic, although
    no two windows of a pool of stride 2 share a pixel.
    """
    flat = maps.new_zeros(*maps.shape[:2], size[0] * size[1])
    moved = flat.scatter(2, indices.flatten(2), maps.flatten(2))
    return moved.reshape(*maps.shape[:2], *size)
