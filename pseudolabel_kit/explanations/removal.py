"""Deletion and insertion: does the class hang on the pixels that the evidence names?

Petsiuk et al. (2018, "RISE", section 4.3): pixels leave the image, or come into an image of
which nothing is left, in the order of the evidence. A good map makes the class's probability fall
at once, or rise at once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Score = Callable[[Tensor], Tensor]
"""Of images (B,C,H,W) one figure each, (B,)."""


def ranks(maps: Tensor, ties: Tensor) -> Tensor:
    """(B,H,W) int64: 0 for the pixel of most evidence; of pixels alike that with the higher tie.

    So a flat map is taken in the order of `ties`, (B,H,W).

    >>> ties = torch.tensor([[[0.1, 0.2], [0.4, 0.3]]])
    >>> ranks(torch.tensor([[[0.5, 0.9], [0.5, 0.7]]]), ties).tolist()
    [[[3, 0], [2, 1]]]
    """
    flat, first = maps.flatten(1), ties.flatten(1).argsort(dim=1, descending=True)
    order = first.gather(1, flat.gather(1, first).argsort(dim=1, descending=True, stable=True))
    places = torch.arange(flat.shape[1], device=flat.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view_as(maps)


def curve(score: Score, start: Tensor, end: Tensor, rank: Tensor, steps: int) -> Tensor:
    """The score while pixels of `start` become those of `end`, the lowest rank first.

    Deletion goes from the image to the baseline, insertion from the baseline to the image.

    Args:
        score: asked once a step for all rows.
        start, end: (B,C,H,W).
        rank: (B,H,W), as `ranks` gives it.
        steps: in how many equal portions.

    Returns:
        (B,steps+1), from none to all pixels.

    >>> image, base = torch.tensor([[[[4.0, 2.0]]]]), torch.zeros(1, 1, 1, 2)
    >>> total = lambda images: images.sum(dim=(1, 2, 3))
    >>> curve(total, image, base, ranks(image[:, 0], base[:, 0]), steps=2).tolist()
    [[6.0, 2.0, 0.0]]
    """
    rank = rank[:, None]
    shares = [round(step * rank[0].numel() / steps) for step in range(steps + 1)]
    return torch.stack([score(torch.where(rank < k, end, start)) for k in shares], dim=1)


def area(curves: Tensor) -> Tensor:
    """(B,): the area under curves (B,T) over [0, 1], by trapezoids; in the score's own range.

    >>> area(torch.tensor([[1.0, 0.5, 0.0]])).item()
    0.5
    """
    return (curves[:, 1:] + curves[:, :-1]).mean(dim=1) / 2
