"""Logistic regression with weights that cannot be negative, exact and deterministic."""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 50  # of Newton; a handful suffices
TOLERANCE = 1e-7  # of a gradient that lets a weight go again
SMALLEST = 1e-15  # fall of the loss that is worth another step


def fit(features: Tensor, truth: Tensor, *, ridge: float) -> tuple[Tensor, Tensor]:
    """The most likely weights (F,) >= 0 and shift of sigmoid(features @ weights + shift).

    Newton's method on the weights that are not held at 0; one that falls below is held there,
    and let go again where the loss would fall with it. The loss is convex, so that the order
    does not matter.

    Args:
        features: (P,F); the first is the one whose weight is drawn to 1, the others' to 0.
        truth: (P,) in {0, 1}, with both among them.
        ridge: of the penalty ridge/2 |weights - (1, 0, ..)|^2, beside the mean cross-entropy.
    """
    x = torch.cat([features.double(), torch.ones_like(features[:, :1]).double()], dim=1)
    y = truth.double()
    start = torch.zeros(x.shape[1], dtype=torch.double, device=x.device)
    start[0] = 1
    penalty = torch.full_like(start, ridge)
    penalty[-1] = 0
    free = torch.ones_like(start, dtype=torch.bool)
    best = torch.zeros_like(start)
    for _ in range(2 * len(start)):
        found = _newton(x, y, start, penalty, free)
        below = (found < 0) & free
        below[-1] = False
        if below.any():
            free &= ~(below & (found == found[below].min()))
            continue
        best = found
        falls = _gradient(x, y, found, start, penalty) < -TOLERANCE
        if not (falls & ~free).any():
            break
        free |= falls
    return best[:-1], best[-1]


def best_cut(logits: Tensor, truth: Tensor) -> Tensor:
    """The logit () at which marking what lies at or above it has the best Dice."""
    order = logits.argsort(descending=True)
    hits = truth[order].double().cumsum(0)
    marked = torch.arange(1, len(hits) + 1, device=hits.device)
    return logits[order][(2 * hits / (marked + hits[-1])).argmax()]


def _newton(x: Tensor, y: Tensor, start: Tensor, penalty: Tensor, free: Tensor) -> Tensor:
    """The best values of the free ones, all others at 0."""
    found = torch.where(free, start, 0.0)
    loss = _loss(x, y, found, start, penalty)
    for _ in range(STEPS):
        p = torch.sigmoid(x @ found)
        curve = (x.T * (p * (1 - p))) @ x / len(x) + torch.diag(penalty + 1e-9)
        gradient = _gradient(x, y, found, start, penalty)
        step = torch.zeros_like(found)
        step[free] = torch.linalg.solve(curve[free][:, free], gradient[free])
        size = 1.0
        while (tried := _loss(x, y, found - size * step, start, penalty)) > loss and size > 1e-6:
            size /= 2
        if not tried < loss:
            return found
        fallen, found, loss = loss - tried, found - size * step, tried
        if fallen < SMALLEST:
            return found
    return found


def _loss(x: Tensor, y: Tensor, found: Tensor, start: Tensor, penalty: Tensor) -> Tensor:
    logits = x @ found
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, y)
    return entropy + (penalty * (found - start).square()).sum() / 2


def _gradient(x: Tensor, y: Tensor, found: Tensor, start: Tensor, penalty: Tensor) -> Tensor:
    return x.T @ (torch.sigmoid(x @ found) - y) / len(x) + penalty * (found - start)
