"""Whether evidence lies where the lesion is: the pointing game, and the energy inside.

A map that knows nothing is flat. By both measures it gets what chance gives: the share of the
image that counts as a hit, and the lesion's share of the image.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt  # type: ignore[import-untyped]
from torch import Tensor

TOLERANCE = 15 / 224  # Zhang et al.'s 15 pixels, as a share of the side that networks then had


def tolerance_of(side: int) -> int:
    """How many pixels beside the lesion still count as a hit, for images of this side.

    >>> tolerance_of(224), tolerance_of(96)
    (15, 6)
    """
    return round(TOLERANCE * side)


def pointing_game(maps: Tensor, lesion: Tensor, tolerance: int) -> Tensor:
    """Whether the map's maximum is a hit (Zhang et al., 2018, section 5.2).

    Of several highest pixels, as a map that is clipped has, the share of them that hit: what a
    draw among them would score in the mean.

    Args:
        maps: (B,H,W), at least 0.
        lesion: (B,H,W) bool.
        tolerance: how far from the lesion a hit may be, in pixels.

    Returns:
        (B,) in [0, 1]; NaN where there is no lesion.

    >>> lesion = torch.tensor([[[False, True, False, False]]])
    >>> [pointing_game(torch.tensor([[[0.0, 0.0, 0.9, 0.2]]]), lesion, t).item() for t in (0, 1)]
    [0.0, 1.0]
    """
    top = maps == maps.amax(dim=(1, 2), keepdim=True)
    return _share_inside(top.double(), _grown(lesion, tolerance), lesion)


def energy_inside(maps: Tensor, lesion: Tensor) -> Tensor:
    """The share of all evidence that lies in the lesion (Wang et al., 2020, Score-CAM, eq. 9).

    Args:
        maps: (B,H,W), at least 0; one that is 0 everywhere counts as flat.
        lesion: (B,H,W) bool.

    Returns:
        (B,) in [0, 1]; NaN where there is no lesion.

    >>> lesion = torch.tensor([[[False, True, False, False]]])
    >>> energy_inside(torch.tensor([[[0.0, 0.5, 0.25, 0.25]]]), lesion).item()
    0.5
    """
    silent = maps.amax(dim=(1, 2), keepdim=True) == 0
    return _share_inside(torch.where(silent, 1.0, maps.double()), lesion, lesion)


def _share_inside(weight: Tensor, inside: Tensor, lesion: Tensor) -> Tensor:
    share = (weight * inside).sum(dim=(1, 2)) / weight.sum(dim=(1, 2))
    return torch.where(lesion.any(dim=2).any(dim=1), share, torch.nan)


def _grown(lesion: Tensor, tolerance: int) -> Tensor:
    """The lesion and all pixels whose centre is at most so far from one of its own."""
    planes = lesion.cpu().numpy()
    near = [plane if not plane.any() else distance_transform_edt(~plane) <= tolerance
            for plane in planes]  # fmt: skip
    return torch.from_numpy(np.stack(near)).to(lesion.device)
