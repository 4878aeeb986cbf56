"""Smooth random fields: orders of pixels that know nothing, but keep neighbours together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]
from torch import Tensor

SIGMA = 1 / 16  # of the Gaussian, as a share of the image's shorter side


def smooth_fields(size: tuple[int, int], seeds: Sequence[int]) -> Tensor:
    """White noise under a Gaussian, (len(seeds),H,W) float64; each field hangs on its seed alone.

    >>> one, two = smooth_fields((8, 8), [1, 2])
    >>> torch.equal(two, smooth_fields((8, 8), [2])[0])
    True
    """
    sigma = SIGMA * min(size)
    drawn = [np.random.default_rng(seed).standard_normal(size) for seed in seeds]
    return torch.from_numpy(np.stack([gaussian_filter(noise, sigma) for noise in drawn]))
