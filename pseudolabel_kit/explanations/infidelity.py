"""Infidelity: does the evidence foretell what the score loses where a square is removed?

Yeh et al. (2019, "On the (in)fidelity and sensitivity of explanations", definition 2.1):
E[(I'Phi - (F(x) - F(x - I)))^2]. Evidence has no unit: I is 1 in the square and 0 elsewhere, so
that I'Phi is the evidence in it, and Phi is scaled as suits the row best, as their code does. But
never by less than 0: evidence that points the wrong way foretells nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pseudolabel_kit.explanations.removal import Score

SAMPLES = 20
SIDE = 1 / 4  # of a square, as a share of the image's


def infidelity(score: Score, maps: Tensor, images: Tensor, base: Tensor, seed: int) -> Tensor:
    """Infidelity over that of an empty map: the share of the score's changes that is not foretold.

    Args:
        score: of images, the class score F.
        maps: (B,H,W), at least 0.
        images, base: (B,C,H,W); a removed square becomes what `base` has there.
        seed: of the places of the squares, the same for every row and every map.

    Returns:
        (B,) in [0, 1], 0 is best; NaN where the score does not change.
    """
    places = squares(maps.shape[1], maps.shape[2], seed).to(maps.device)
    foretold = torch.einsum("bhw,shw->bs", maps, places.to(maps.dtype))
    removed = [score(torch.where(inside, base, images)) for inside in places]
    lost = score(images)[:, None] - torch.stack(removed, dim=1)
    tiny = torch.finfo(foretold.dtype).tiny
    power = (foretold**2).sum(dim=1, keepdim=True).clamp_min(tiny)
    scale = ((foretold * lost).sum(dim=1, keepdim=True) / power).clamp_min(0)
    missed, change = ((scale * foretold - lost) ** 2).sum(dim=1), (lost**2).sum(dim=1)
    return torch.where(change > 0, (missed / change).clamp(0, 1), torch.nan)


def squares(height: int, width: int, seed: int) -> Tensor:
    """(SAMPLES,H,W) bool: squares at random places."""
    draw = torch.Generator().manual_seed(seed)
    side = max(1, round(SIDE * min(height, width)))
    top = torch.randint(height - side + 1, (SAMPLES, 1, 1), generator=draw)
    left = torch.randint(width - side + 1, (SAMPLES, 1, 1), generator=draw)
    y, x = torch.arange(height)[:, None] - top, torch.arange(width) - left
    return (y >= 0) & (y < side) & (x >= 0) & (x < side)
