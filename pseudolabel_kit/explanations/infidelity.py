"""Infidelity: does the evidence foretell what the score loses where a square is removed?

Yeh et al. (2019, "On the (in)fidelity and sensitivity of explanations", definition 2.1), by
captum: E[(I'Phi - (F(x) - F(x - I)))^2]. Evidence has no sign and no unit: I is 1 in the square and
0 elsewhere, so that I'Phi is the evidence in it, and Phi is scaled as suits the row best.
"""

from __future__ import annotations

from typing import Any

import torch
from captum import metrics  # type: ignore[import-untyped]
from torch import Tensor

from pseudolabel_kit.explanations.removal import Score

SAMPLES = 10
SIDE = 1 / 4  # of a square, as a share of the image's


def infidelity(score: Score, maps: Tensor, images: Tensor, base: Tensor, seed: int) -> Tensor:
    """Infidelity over that of an empty map: the share of the score's changes that is not foretold.

    Args:
        score: of images, the class score F.
        maps: (B,H,W), at least 0.
        images, base: (B,C,H,W); a removed square becomes what `base` has there.
        seed: of the places of the squares, the same for every map.

    Returns:
        (B,) in [0, 1], 0 is best; NaN where the score does not change.
    """
    even = (maps / images.shape[1])[:, None].expand_as(images)
    missed = _infidelity(score, even, images, base, seed, normalize=True)
    change = _infidelity(score, torch.zeros_like(images), images, base, seed, normalize=False)
    return torch.where(change > 0, (missed / change).clamp(0, 1), torch.nan)


def _infidelity(
    score: Score, attributions: Tensor, images: Tensor, base: Tensor, seed: int, **options: Any
) -> Tensor:
    draw = torch.Generator().manual_seed(seed)

    def perturb(images: Tensor) -> tuple[Tensor, Tensor]:
        inside = squares(images, draw)
        return inside.to(images.dtype), torch.where(inside, base, images)

    found: Tensor = metrics.infidelity(
        score, perturb, images, attributions, n_perturb_samples=SAMPLES,
        max_examples_per_batch=len(images), **options,
    )  # fmt: skip
    return found


def squares(images: Tensor, draw: torch.Generator) -> Tensor:
    """(B,C,H,W) bool: a square at a random place of each image, the same in all channels."""
    rows, _, height, width = images.shape
    side = max(1, round(SIDE * min(height, width)))
    top = torch.randint(height - side + 1, (rows, 1, 1, 1), generator=draw)
    left = torch.randint(width - side + 1, (rows, 1, 1, 1), generator=draw)
    y, x = torch.arange(height)[:, None] - top, torch.arange(width) - left
    inside = (y >= 0) & (y < side) & (x >= 0) & (x < side)
    return inside.expand_as(images).to(images.device)
