"""What the networks of the rivals share: sizes, and a mask head that expects rare lesions."""

from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pseudolabel_kit.errors import ConfigError

RARE = 0.05  # the share of foreground that an untrained mask head answers everywhere


def resized(maps: Tensor, like: Tensor) -> Tensor:
    """Maps (B,D,h,w) at the height and width of `like`, bilinear."""
    size = like.shape[-2:]
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def mask_head(channels: int, masks: int) -> nn.Conv2d:
    """A 1x1 convolution to mask logits whose bias says that lesions are rare (Lin et al., 2017)."""
    head = nn.Conv2d(channels, masks, 1)
    assert head.bias is not None
    with torch.no_grad():
        head.bias.fill_(log(RARE / (1 - RARE)))
    return head


def refuse_small(name: str, size: tuple[int, int], least: int) -> None:
    """Refuse images whose deepest map would be too small to normalise over.

    Raises:
        ConfigError: a side is shorter than `least` pixels.
    """
    if min(size) < least:
        raise ConfigError(
            f"{name}: images of {size[0]}x{size[1]} pixels are too small: "
            f"expected at least {least}x{least}"
        )
