"""Copies of a classifier in which some modules are others, for methods that need it so."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pseudolabel_kit.attribution import ClassScores


def exchanged(scores: ClassScores, new: Mapping[nn.Module, nn.Module]) -> ClassScores:
    """A copy with new modules for old, which shares all weights and buffers with the original."""
    tensors = chain(scores.parameters(), scores.buffers())
    memo: dict[int, object] = {id(tensor): tensor for tensor in tensors}
    memo |= {id(old): module for old, module in new.items()}
    return deepcopy(scores, memo)  # what the memo holds is taken for the copy


class Apart(nn.Module):
    """A module without weights as one module for each time that a network runs it.

    Each is given a tensor of its own: it may work in place, and hooks have changed that
    tensor's gradient before the module that made it looks.
    """

    def __init__(self, module: nn.Module, times: int) -> None:
        super().__init__()
        self.copies = nn.ModuleList(deepcopy(module) for _ in range(times))
        self.turn = 0

    def forward(self, x: Tensor) -> Tensor:
        """What the next copy answers; after the last, the first again."""
        answer: Tensor = self.copies[self.turn](x.clone())
        self.turn = (self.turn + 1) % len(self.copies)
        return answer


class Hidden(nn.Module):
    """A module that captum does not find, and so leaves to its plain gradient."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.run = module.forward

    def forward(self, x: Tensor) -> Tensor:
        """What the hidden module answers."""
        answer: Tensor = self.run(x)
        return answer


class Tiled(nn.Module):
    """Max pooling in which windows that overlap are laid side by side first, then pooled."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.kernel, self.stride = _pair(pool.kernel_size), _pair(pool.stride)
        self.padding = _pair(pool.padding)
        self.pool = nn.MaxPool2d(self.kernel)

    def forward(self, x: Tensor) -> Tensor:
        """What the pool answers to (B,D,H,W)."""
        high, wide = self.padding
        x = F.pad(x, (wide, wide, high, high), value=torch.finfo(x.dtype).min)
        for axis, size, step in zip((2, 3), self.kernel, self.stride, strict=True):
            x = x.unfold(axis, size, step)  # (B,D,h,w,kernel height,kernel width) in the end
        tiles = x.transpose(3, 4).flatten(4, 5).flatten(2, 3)
        answer: Tensor = self.pool(tiles)
        return answer


class Rectifier(nn.ReLU):
    """Another rectifier under the name of ReLU, by which captum knows what to guide."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """What the other rectifier answers."""
        answer: Tensor = self.module(x)
        return answer


def _pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else value
