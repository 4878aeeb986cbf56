"""Pixel statistics that add up over batches and processes, in memory that does not grow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CALIBRATION_BINS = 15
RANK_BINS = 256


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Sums from which a probability map is judged against the truth, over all pixels.

    Attributes:
        overlap: (3,) true positives, false positives and false negatives at 0.5.
        squared: () squared differences.
        bins: (3,15) pixels, summed probability and summed truth of each bin of probability.
    """

    overlap: Tensor
    squared: Tensor
    bins: Tensor

    @classmethod
    def of(cls, probability: Tensor, truth: Tensor) -> Agreement:
        """The sums of maps in [0, 1] against truth in {0, 1}, both of one shape."""
        p, t = probability.flatten().double(), truth.flatten().double()
        marked = (p >= 0.5).double()
        overlap = torch.stack([marked @ t, marked @ (1 - t), (1 - marked) @ t])
        index = (p * CALIBRATION_BINS).long().clamp(max=CALIBRATION_BINS - 1)
        sums = [
            torch.bincount(index, weights=w, minlength=CALIBRATION_BINS)
            for w in (torch.ones_like(p), p, t)
        ]
        return cls(overlap=overlap, squared=((p - t) ** 2).sum(), bins=torch.stack(sums))

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(
            overlap=self.overlap + other.overlap,
            squared=self.squared + other.squared,
            bins=self.bins + other.bins,
        )

    @property
    def dice(self) -> float | None:
        """2tp / (2tp + fp + fn); None where no pixel is lesion."""
        tp, fp, fn = self.overlap.tolist()
        return 2 * tp / (2 * tp + fp + fn) if tp + fn else None

    @property
    def brier(self) -> float:
        """The mean squared difference (Brier, 1950), in [0, 1]; 0 is best."""
        return float(self.squared / self.bins[0].sum())

    @property
    def ece(self) -> float:
        """The expected calibration error in 15 even bins (Naeini et al., 2015), in [0, 1]."""
        count, probability, truth = self.bins
        return float((probability - truth).abs().sum() / count.sum())


def image_auroc(score: Tensor, positive: Tensor) -> Tensor:
    """How well each image's map ranks its positive pixels above the others.

    Scores fall into 256 even bins, those of one bin count as ties; so the memory is that of
    the bins, and the error below half the share of pairs that fall into one bin.

    Args:
        score: (B,...) in [0, 1].
        positive: (B,...) bool, of the same shape.

    Returns:
        (B,) in [0, 1], 0.5 by chance; NaN for an image with pixels of one kind alone.
    """
    rows = len(score)
    level = (score.flatten(1).double() * RANK_BINS).long().clamp(0, RANK_BINS - 1)
    index = (level + RANK_BINS * torch.arange(rows)[:, None]).flatten()
    ups, downs = (
        torch.bincount(index[kind], minlength=rows * RANK_BINS).reshape(rows, RANK_BINS).double()
        for kind in (positive.flatten(), ~positive.flatten())
    )
    below = downs.cumsum(dim=1) - downs
    right = (ups * (below + downs / 2)).sum(dim=1)
    return right / (ups.sum(dim=1) * downs.sum(dim=1))
