"""Labels that flow along a graph of neighbours (Zhou et al., 2004; Iscen et al., 2019)."""

from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS = 1024  # whose similarities to all others are in memory at once
TOLERANCE = 1e-10  # of the residual, over the seeds


def nearest_rows(
    queries: Tensor, bank: Tensor, neighbours: int, gamma: float, first: int | None = None
) -> tuple[Tensor, Tensor]:
    """Affinities (Q,k) and indices (Q,k) of the k rows of the bank nearest to each query.

    Affinity is max(0, cosine) ** gamma; queries (Q,D) and bank (M,D) have length 1.

    Args:
        first: where the queries themselves begin in the bank; none is its own neighbour.
    """
    cosine = queries @ bank.T
    if first is not None:
        row = torch.arange(len(queries), device=queries.device)
        cosine[row, row + first] = -1
    cosine, column = cosine.topk(min(neighbours, len(bank)), dim=1)
    return cosine.clamp_min(0).pow(gamma), column


def affinities(features: Tensor, neighbours: int, gamma: float) -> Tensor:
    """W = A + A' (M,M), sparse, on the CPU: A holds each row's affinity to its nearest others."""
    found = [
        nearest_rows(features[first : first + ROWS], features, neighbours, gamma, first)
        for first in range(0, len(features), ROWS)
    ]
    value, column = (torch.cat(part).cpu() for part in zip(*found, strict=True))
    row = torch.arange(len(features))[:, None].expand_as(column)
    index = torch.stack((row.flatten(), column.flatten()))
    both = torch.cat((index, index.flip(0)), dim=1)
    shape = (len(features), len(features))
    values = value.flatten().repeat(2)
    return torch.sparse_coo_tensor(both, values, shape, check_invariants=True).coalesce()


def diffuse(weights: Tensor, seeds: Tensor, alpha: float) -> Tensor:
    """Z = (I - alpha S)^-1 Y by conjugate gradients, with S = D^-1/2 W D^-1/2; in double.

    Args:
        weights: W (M,M), sparse, symmetric, >= 0; rows without neighbours are allowed.
        seeds: Y (M,N), on the same device.
        alpha: in (0, 1), how far labels flow.
    """
    weights, seeds = weights.double(), seeds.double()
    degree = torch.sparse.sum(weights, dim=1).to_dense()[:, None]
    scale = torch.where(degree > 0, degree.rsqrt(), 0)

    found, residual = torch.zeros_like(seeds), seeds.clone()
    direction, norm = residual, residual.square().sum(dim=0)
    enough = TOLERANCE**2 * norm
    for _ in range(10 * len(seeds)):  # exact arithmetic would need one step a row
        if (norm <= enough).all():
            break
        moved = direction - alpha * scale * torch.sparse.mm(weights, scale * direction)
        step = _ratio(norm, (direction * moved).sum(dim=0))
        found, residual = found + step * direction, residual - step * moved
        before, norm = norm, residual.square().sum(dim=0)
        direction = residual + _ratio(norm, before) * direction
    return found


def balanced_seeds(label: Tensor, known: Tensor, classes: int) -> Tensor:
    """Y (M,N): one-hot rows where `known` (M,), each class summing to 1 however frequent it is."""
    seeds = F.one_hot(label.where(known, 0), classes).double() * known[:, None]
    return seeds / seeds.sum(dim=0).clamp_min(1)


def shares(scores: Tensor) -> Tensor:
    """Scores (M,N) >= 0 as class probabilities; rows that nothing reached are undecided."""
    scores = scores.clamp_min(0)
    total = scores.sum(dim=1, keepdim=True)
    return torch.where(total > 0, scores / total.where(total > 0, 1), 1 / scores.shape[1])


def certainty(probability: Tensor) -> Tensor:
    """(M,) in [0, 1]: 1 - entropy / log N of class probabilities (M,N).

    >>> certainty(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    tensor([1., 0.])
    """
    entropy = -torch.xlogy(probability, probability).sum(dim=1)
    return (1 - entropy / log(max(2, probability.shape[1]))).clamp(0, 1)


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """above / below, and 0 where a class without seeds has nothing left to solve."""
    return torch.where(below > 0, above / below.where(below > 0, 1), 0)
