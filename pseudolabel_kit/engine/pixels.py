"""What is kept of a map against the truth: one histogram an image, whatever its size.

Every figure is a function of histograms, one value a row. So the figures of an image, of a
patient and of a split are the same lines of code on other sums (`pooled`), and those of a
bootstrap are too, on weighted ones (`drawn`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pseudolabel_kit.interfaces import Batch

Array: TypeAlias = NDArray[np.float64]

CALIBRATION_BINS = 15
_EVEN = 16 * CALIBRATION_BINS
_GRID = 1 << 16  # scores are told apart to this part of 1, by a table: twenty times a search


def _edges() -> Array:
    """Ascending: even ones, with 0.5 and every k/15 among them, and finer ones near 0 and 1.

    Decoders are sure of most pixels, and those are to be ranked too.
    """
    even = np.rint(np.arange(1, _EVEN) / _EVEN * _GRID) / _GRID
    tail = np.array([n * 2**power for power in range(7) for n in (2, 3)]) / _GRID
    return np.concatenate([tail, even, 1 - tail[::-1]])


EDGES = _edges()
BINS = len(EDGES) + 1
_BIN = np.searchsorted(EDGES, np.arange(_GRID + 1) / _GRID, side="right")
_CALIBRATION = np.searchsorted(
    EDGES, np.rint(np.arange(CALIBRATION_BINS) / CALIBRATION_BINS * _GRID) / _GRID, side="right"
)


@dataclass(frozen=True, eq=False)
class Tally:
    """Histograms of R maps with scores in [0, 1]; each figure is (R,), NaN where not defined.

    Attributes:
        counts: (R,2,BINS) pixels of background and of lesion, by their score's bin: those from
            `EDGES[b-1]` and below `EDGES[b]`.
        scores: (R,BINS) their summed scores.
        squared: (R,) summed squared differences between score and truth.
    """

    counts: Array
    scores: Array
    squared: Array

    @classmethod
    def of(cls, score: Tensor, truth: Tensor) -> Tally:
        """The histograms of maps (R,...) in [0, 1] against truth of their shape, bool."""
        rows = len(score)
        s, t = score.flatten(1).float().numpy(), truth.flatten(1).numpy()
        level = _BIN.take((s * _GRID).astype(np.int32)) + BINS * np.arange(rows)[:, None]
        kind = level + BINS * (np.arange(rows)[:, None] + t)
        counts = np.bincount(kind.ravel(), minlength=2 * rows * BINS)
        scores: Array = np.bincount(level.ravel(), s.ravel(), minlength=rows * BINS)  # type: ignore[assignment]
        return cls(
            counts=counts.reshape(rows, 2, BINS).astype(np.float64),
            scores=scores.reshape(rows, BINS),
            squared=np.square(s - t).sum(axis=1, dtype=np.float64),
        )

    @classmethod
    def joined(cls, parts: Sequence[Tally]) -> Tally:
        """The rows of all parts, in their order."""
        return cls(
            counts=np.concatenate([part.counts for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            squared=np.concatenate([part.squared for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, rows: Any) -> Tally:
        """Some rows: a slice, indices or a mask."""
        return Tally(self.counts[rows], self.scores[rows], self.squared[rows])

    def drawn(self, times: Array) -> Tally:
        """One row for each of (S,R) draws, in which row r counts `times[s, r]` times."""
        flat = times @ self.counts.reshape(len(self), 2 * BINS)
        return Tally(flat.reshape(len(times), 2, BINS), times @ self.scores, times @ self.squared)

    @property
    def pooled(self) -> Tally:
        """One row: all pixels together."""
        return self.drawn(np.ones((1, len(self))))

    @property
    def pixels(self) -> Array:
        """How many there are."""
        count: Array = self.counts.sum(axis=(1, 2))
        return count

    @property
    def mean(self) -> Array:
        """The mean score."""
        return _over(self.scores.sum(axis=1), self.pixels)

    @property
    def foreground(self) -> Array:
        """The share of pixels whose score is at least 0.5."""
        return _over(self.counts[:, :, BINS // 2 :].sum(axis=(1, 2)), self.pixels)

    @property
    def prevalence(self) -> Array:
        """The share of lesion."""
        return _over(self.counts[:, 1].sum(axis=1), self.pixels)

    @property
    def dice(self) -> Array:
        """2tp / (2tp + fp + fn) at 0.5; NaN where no pixel is lesion."""
        return dice(self.overlap)

    @property
    def overlap(self) -> Array:
        """(R,3): pixels that are marked at 0.5 and lesion, marked, and lesion."""
        marked = self.counts[:, :, BINS // 2 :].sum(axis=2)
        return np.stack([marked[:, 1], marked.sum(axis=1), self.counts[:, 1].sum(axis=1)], axis=1)

    @property
    def dice_by_threshold(self) -> Array:
        """(R,BINS): Dice of what scores at least 0, and at least each of `EDGES`."""
        marked = self.counts[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]
        lesion = self.counts[:, 1].sum(axis=1, keepdims=True)
        return np.where(lesion > 0, _over(2 * marked[:, 1], marked.sum(axis=1) + lesion), np.nan)

    @property
    def brier(self) -> Array:
        """The mean squared difference (Brier, 1950), in [0, 1]; 0 is best."""
        return _over(self.squared, self.pixels)

    @property
    def ece(self) -> Array:
        """The expected calibration error in 15 even bins (Naeini et al., 2015), in [0, 1]."""
        _, score, lesion = self._calibration()
        return _over(np.abs(score - lesion).sum(axis=1), self.pixels)

    @property
    def reliability(self) -> tuple[Array, Array, Array]:
        """(R,15) each: the bins' share of all pixels, mean score, and share of lesion."""
        pixels, score, lesion = self._calibration()
        return _over(pixels, self.pixels[:, None]), _over(score, pixels), _over(lesion, pixels)

    def _calibration(self) -> tuple[Array, Array, Array]:
        kept = (self.counts.sum(axis=1), self.scores, self.counts[:, 1])
        pixels, score, lesion = (np.add.reduceat(each, _CALIBRATION, axis=1) for each in kept)
        return pixels, score, lesion

    @property
    def auroc(self) -> Array:
        """The chance that a lesion pixel scores above another one; 0.5 = by chance.

        Scores of one bin count as ties, so the error is below half the share of such pairs.
        """
        downs, ups = self.counts[:, 0], self.counts[:, 1]
        below = downs.cumsum(axis=1) - downs
        right = (ups * (below + downs / 2)).sum(axis=1)
        return _over(right, ups.sum(axis=1) * downs.sum(axis=1))

    @property
    def average_precision(self) -> Array:
        """The mean precision over recall, in steps; that of chance is the share of lesion."""
        marked = self.counts[:, :, ::-1].cumsum(axis=2)
        precision = np.nan_to_num(_over(marked[:, 1], marked.sum(axis=1)))
        gained = self.counts[:, 1, ::-1]
        return _over((gained * precision).sum(axis=1), gained.sum(axis=1))

    @property
    def risk(self) -> tuple[Array, Array]:
        """(R,BINS/2) each: coverage, and the share of wrong pixels in it, the surest first.

        A pixel's confidence is its score's distance from 0.5 (El-Yaniv and Wiener, 2010).
        """
        half = BINS // 2
        low, high = self.counts[:, :, :half], self.counts[:, :, : half - 1 : -1]
        covered = (low + high).sum(axis=1).cumsum(axis=1)
        wrong = (low[:, 1] + high[:, 0]).cumsum(axis=1)
        return _over(covered, self.pixels[:, None]), _over(wrong, covered)


def lesion_free(batch: Batch) -> Tensor:
    """(B,) bool: which rows are known to hold no lesion."""
    return batch.has_mask & ~(batch.mask > 0.5).flatten(1).any(dim=1)


def dice(overlap: Array) -> Array:
    """Dice (R,) of sums as `Tally.overlap` gives them, or of weighted ones."""
    both, marked, lesion = overlap.T
    return np.where(lesion > 0, _over(2 * both, marked + lesion), np.nan)


def _over(total: Array, count: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Array = np.where(count > 0, total / count, np.nan)
        return found
