"""What SGC learns: which pixels are alike, and how a propagated map becomes a lesion's odds."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class SgcHead(nn.Module):
    """Spreads class maps among pixels with like features (Zou et al., 2021, eq. 4).

    The width D of the features is known when the first of them come. Until then, or until a
    checkpoint brings theirs, query and key have no columns; as parameters they stay the same
    objects, so that optimisers, copies and other processes never lose them.

    Args:
        maps: L, class maps that come in.
        masks: K, mask channels that go out.
        dim: width of query and key.
    """

    def __init__(self, *, maps: int, masks: int, dim: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(dim, 0))
        self.key = nn.Parameter(torch.empty(dim, 0))
        # Untrained, it says what the map says: a random start may well point away from it.
        self.odds = nn.Conv2d(maps + 1, masks, 1)
        nn.init.constant_(self.odds.weight, 1.0)
        nn.init.constant_(self.odds.weight[:, :1], -1.0)
        nn.init.zeros_(self.odds.get_parameter("bias"))
        self.register_load_state_dict_pre_hook(_make_room)  # type: ignore[no-untyped-call]

    def forward(self, features: Tensor, maps: Tensor) -> Tensor:
        """Logits (B,K,h,w) of lesion against background, from features (B,D,h,w).

        Args:
            features: the hypercolumn.
            maps: (B,L,h,w) in [0, 1], one of each class that can hold lesions.
        """
        self._fit(features)
        score = self.propagate(features, maps) + maps
        # A propagated map is a mean of maps, at most 1, and the map itself is at most 1:
        # scores lie in [0, 2], and what is left of 2 is the background's.
        background = 2 - score.amax(dim=1, keepdim=True)
        odds: Tensor = self.odds(torch.cat((background, score), dim=1))
        return odds

    def propagate(self, features: Tensor, maps: Tensor) -> Tensor:
        """softmax(q k / sqrt(dim)) m: each pixel's mean of maps over the pixels like it."""
        pixels = features.flatten(2).transpose(1, 2)  # (B,hw,D)
        query, key = linear(pixels, self.query), linear(pixels, self.key)
        alike = torch.softmax(query @ key.transpose(1, 2) / sqrt(query.shape[-1]), dim=-1)
        spread = alike @ maps.flatten(2).transpose(1, 2).to(alike.dtype)  # (B,hw,L)
        return spread.transpose(1, 2).reshape(maps.shape)

    def _fit(self, features: Tensor) -> None:
        """Give query and key their columns once the width is known."""
        if not self.query.shape[1]:
            for weight in (self.query, self.key):
                weight.data = features.new_empty(len(weight), features.shape[1])
                nn.init.xavier_uniform_(weight)


def _make_room(head: nn.Module, tensors: Mapping[str, Tensor], prefix: str, *_: Any) -> None:
    """Before a checkpoint is loaded: query and key as wide as those that come."""
    for name in ("query", "key"):
        weight, found = head.get_parameter(name), tensors.get(prefix + name)
        if found is not None and not weight.shape[1]:
            weight.data = weight.new_empty(found.shape)
