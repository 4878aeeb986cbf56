"""Agreement: whether two explainers order the pixels of an image alike."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import rankdata  # type: ignore[import-untyped]
from torch import Tensor


def agreement(one: Tensor, other: Tensor) -> Tensor:
    """Spearman's rank correlation of two maps' pixels (as Adebayo et al., 2018, compare maps).

    Args:
        one, other: (B,H,W); pixels alike share their mean rank.

    Returns:
        (B,) in [-1, 1]; NaN where a map is flat.

    >>> one = torch.tensor([[[0.1, 0.2, 0.3]], [[0.1, 0.2, 0.3]], [[0.1, 0.2, 0.3]]])
    >>> other = torch.tensor([[[1.0, 4.0, 9.0]], [[3.0, 2.0, 1.0]], [[1.0, 1.0, 1.0]]])
    >>> agreement(one, other).tolist()
    [1.0, -1.0, nan]
    """
    a, b = _centred_ranks(one), _centred_ranks(other)
    with np.errstate(invalid="ignore"):
        found = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return torch.from_numpy(found).clamp(-1, 1)


def _centred_ranks(maps: Tensor) -> np.typing.NDArray[np.float64]:
    ranks = rankdata(maps.flatten(1).cpu().numpy(), axis=1)
    return np.asarray(ranks - ranks.mean(axis=1, keepdims=True), dtype=np.float64)
