"""Feature maps of one size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resized(maps: Tensor, like: Tensor) -> Tensor:
    """Maps (B,D,h,w) at the height and width of `like`, bilinear."""
    size = like.shape[-2:]
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
