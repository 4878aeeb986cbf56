"""The weak view: small changes of geometry that leave every finding where it is recognised."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

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
    grid = affine_grid(
        _draw(batch.image, config), list(batch.image[:, :1].shape), align_corners=False
    )

    def moved(planes: Tensor, mode: str) -> Tensor:
        return grid_sample(planes, grid, mode=mode, padding_mode="zeros", align_corners=False)

    return replace(
        batch,
        image=moved(batch.image, "bilinear"),
        mask=moved(batch.mask, "nearest"),
        region=None if batch.region is None else moved(batch.region, "nearest"),
    )


def _draw(like: Tensor, config: AugmentConfig) -> Tensor:
    """One matrix (B,2,3) a row, from the view's coordinates in [-1, 1] to the image's."""
    rows = len(like)
    drawn = torch.rand(rows, 4, device=like.device)
    mirror = torch.where(drawn[:, 0] < config.flip, -1.0, 1.0)
    zoom = 1 / (1 + config.scale * (2 * drawn[:, 1] - 1))
    shift = 2 * config.shift * (2 * drawn[:, 2:] - 1)  # a side is 2 long
    matrix = torch.zeros(rows, 2, 3, device=like.device)
    matrix[:, 0, 0] = mirror * zoom
    matrix[:, 1, 1] = zoom
    matrix[:, :, 2] = shift
    return matrix.to(like.dtype)
