"""The weak view: small changes of geometry that leave every finding where it is recognised."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from pseudolabel_kit.config import AugmentConfig
from pseudolabel_kit.interfaces import Batch


def weak_view(batch: Batch, config: AugmentConfig) -> Batch:
    """Flip, shift and scale each row by its own draw; image, mask and region move together.

    One affine resampling on the batch's device: bilinear for the image, nearest for mask and
    region, 0 from outside. Draws from torch's global generator. With flip, shift and scale
    all 0, the batch itself comes back.
    """
    if not (config.flip or config.shift or config.scale):
        return batch
    grid = _draw(batch.image, config)

    def moved(planes: Tensor, mode: str) -> Tensor:
        return grid_sample(planes, grid, mode=mode, padding_mode="zeros", align_corners=False)

    return replace(
        batch,
        image=moved(batch.image, "bilinear"),
        mask=moved(batch.mask, "nearest"),
        region=None if batch.region is None else moved(batch.region, "nearest"),
    )


def _draw(like: Tensor, config: AugmentConfig) -> Tensor:
    """Where each pixel of each row's view lies in its image: (B,H,W,2), from -1 to 1."""
    rows, _, height, width = like.shape
    drawn = torch.rand(rows, 4, device=like.device).to(like.dtype)
    mirror = torch.where(drawn[:, 0] < config.flip, -1.0, 1.0)
    zoom = 1 / (1 + config.scale * (2 * drawn[:, 1] - 1))
    shift = 2 * config.shift * (2 * drawn[:, 2:] - 1)  # a side is 2 long
    # Nothing is turned, so x and y are apart: ten times faster than a general affine grid.
    x = _centres(width, like) * (mirror * zoom)[:, None] + shift[:, :1]
    y = _centres(height, like) * zoom[:, None] + shift[:, 1:]
    size = (rows, height, width)
    return torch.stack((x[:, None, :].expand(size), y[:, :, None].expand(size)), dim=-1)


def _centres(count: int, like: Tensor) -> Tensor:
    places = torch.arange(count, device=like.device, dtype=like.dtype)
    return (2 * places + 1) / count - 1
