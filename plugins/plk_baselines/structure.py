"""Losses that look hardest at the border of a lesion, and where that border is."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pseudolabel_kit.interfaces import LossTerm
from pseudolabel_kit.losses import weighted_bce

WINDOW = 31  # pixels a side of the neighbourhood that a pixel is compared with
EMPHASIS = 5.0


def border_weight(mask: Tensor, window: int = WINDOW) -> Tensor:
    """1 + 5 |local mean - mask| for a mask (B,K,H,W): up to 6 at a border, 1 far from it.

    The local mean is over the part of the window that lies in the image (Wei et al., 2020).
    """
    mean = F.avg_pool2d(mask, window, stride=1, padding=window // 2, count_include_pad=False)
    return 1 + EMPHASIS * (mean - mask).abs()


def structure(logits: Tensor, mask: Tensor, has_mask: Tensor, background_weight: float) -> LossTerm:
    """Weighted BCE plus weighted IoU on logits (B,K,H,W), over rows with a mask.

    Both weigh pixels by `border_weight`. One is added to the IoU's two sums, so that an empty
    answer to an empty mask costs nothing.
    """
    weight = border_weight(mask)
    bce = (weight * weighted_bce(logits, mask, background_weight)).sum(dim=(2, 3))
    p = logits.sigmoid()
    overlap = (weight * p * mask).sum(dim=(2, 3))
    union = (weight * (p + mask)).sum(dim=(2, 3)) - overlap
    loss = bce / weight.sum(dim=(2, 3)) + 1 - (overlap + 1) / (union + 1)
    return LossTerm(total=loss.mean(dim=1) * has_mask, count=has_mask.to(loss.dtype))


def edges(mask: Tensor) -> Tensor:
    """The border of a mask (B,K,H,W) in {0, 1}: its pixels with one outside it beside them.

    Beside are the eight around; what lies beyond the image is not outside.
    """
    eroded = -F.max_pool2d(-mask, 3, stride=1, padding=1)
    return mask - eroded
