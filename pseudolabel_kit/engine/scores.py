"""Every measure as a function of weighted rows, so that a bootstrap is one more weight vector.

Axes      S resamples, R rows, G groups (a patient, or an image of no known patient),
          N classes, K mask channels; the four counts are tp, fp, fn, tn, in pixels.
Undefined values are NaN in here; `Measures.compute` and `intervals` turn them into None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Scores: TypeAlias = dict[str, Array]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The rows' sufficient statistics, column by column.

    Attributes:
        label: (R,) class index, -1 where unknown.
        probabilities: (R,N).
        counts: (R,K,4) pixels; all zero where the mask is unknown.
        group: (R,) index into the groups.
        is_patient: (G,) whether the group is a known patient.
        row: (R,) what name, label and mask hash to, so that two runs can be paired row by row.
    """

    label: NDArray[np.int64]
    probabilities: Array
    counts: Array
    group: NDArray[np.int64]
    is_patient: NDArray[np.bool_]
    row: NDArray[np.uint64]


def scores(columns: Columns, weights: Array) -> Scores:
    """Each measure (S,) when group g counts `weights[:, g]` times; weights (S,G)."""
    rows = weights[:, columns.group]
    return _mask_scores(columns, rows, weights) | _class_scores(columns, rows)


def bearing(columns: Columns) -> dict[str, tuple[NDArray[np.bool_], ...]]:
    """By measure, the rows (R,) it stands on: with lesion in each channel, without, of each class.

    Where it needs several kinds, it stands on the fewest of them: AUC on the rarest class, Dice on
    the rarest channel. Kinds that never occur have no part in a measure.
    """
    counts, label = columns.counts, columns.label
    lesion = counts[..., 0] + counts[..., 2] > 0
    channels = _occurring(lesion)
    of_patients = _occurring(lesion & columns.is_patient[columns.group, None])
    classes = _occurring(label[:, None] == np.arange(label.max(initial=-1) + 1))
    return {
        **dict.fromkeys(("dice", "dice_image", "miou", "miou_image"), channels),
        **dict.fromkeys(("dice_patient", "miou_patient"), of_patients),
        "false_positive_share": (counts.any(axis=(1, 2)) & (lesion.sum(axis=1) == 0),),
        "accuracy": (label >= 0,),
        **dict.fromkeys(("sensitivity", "specificity", "auc"), classes),
    }


def _occurring(kinds: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], ...]:
    """Which rows (R,) are of each kind, by (R,M), without the kinds that no row is of."""
    return tuple(kinds[:, kinds.any(axis=0)].T)


def _class_scores(columns: Columns, rows: Array) -> Scores:
    known = columns.label >= 0
    label, probabilities, rows = columns.label[known], columns.probabilities[known], rows[:, known]
    n = probabilities.shape[1]
    cell = np.eye(n * n)[label * n + probabilities.argmax(axis=1)]
    confusion = (rows @ cell).reshape(len(rows), n, n)
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    support, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    total = support.sum(axis=1, keepdims=True)
    true_negatives = total - support - predicted + hits
    auc = [area_under_roc(probabilities[:, c], label == c, rows) for c in range(n)]
    return {
        "accuracy": ratio(hits.sum(axis=1), total[:, 0]),
        "sensitivity": mean(ratio(hits, support)),
        "specificity": mean(ratio(true_negatives, total - support)),
        "auc": mean(np.stack(auc, axis=1)),
    }


def _mask_scores(columns: Columns, rows: Array, groups: Array) -> Scores:
    counts = columns.counts
    pooled = (rows @ counts.reshape(len(counts), -1)).reshape(len(rows), *counts.shape[1:])
    patients = np.zeros((len(columns.is_patient), *counts.shape[1:]))
    np.add.at(patients, columns.group, counts)
    patients[~columns.is_patient] = 0
    measured: Scores = {}
    for name, measure in (("dice", dice), ("miou", miou)):
        measured[name] = measure(pooled)
        measured[f"{name}_image"] = mean(measure(counts), rows)
        measured[f"{name}_patient"] = mean(measure(patients), groups)
    measured["false_positive_share"] = mean(_false_positive_share(counts), rows)
    return measured


def dice(counts: Array) -> Array:
    """2tp / (2tp + fp + fn) of counts (...,K,4), the mean over channels with lesion; (...,)."""
    tp, fp, fn, _ = np.moveaxis(counts, -1, 0)
    return mean(_where_lesion(ratio(2 * tp, 2 * tp + fp + fn), tp + fn))


def miou(counts: Array) -> Array:
    """The mean of foreground's and background's IoU of counts (...,K,4); (...,)."""
    tp, fp, fn, tn = np.moveaxis(counts, -1, 0)
    both = np.stack([ratio(tp, tp + fp + fn), ratio(tn, tn + fp + fn)], axis=-1)
    return mean(_where_lesion(mean(both), tp + fn))


def _false_positive_share(counts: Array) -> Array:
    """The share of pixels marked as lesion on lesion-free rows, NaN on all others."""
    tp, fp, fn, _ = np.moveaxis(counts, -1, 0)
    share = ratio(fp.sum(axis=-1), counts.sum(axis=(-2, -1)))
    return np.where((tp + fn).sum(axis=-1) == 0, share, np.nan)


def _where_lesion(values: Array, lesion: Array) -> Array:
    return np.where(lesion > 0, values, np.nan)


def area_under_roc(score: Array, positive: NDArray[np.bool_], weights: Array) -> Array:
    """The weighted share of (positive, negative) pairs ranked right, ties half; (S,).

    Args:
        score: (R,), higher = more likely positive.
        positive: (R,).
        weights: (S,R).
    """
    order = np.argsort(score, kind="stable")
    starts = np.unique(score[order], return_index=True)[1]
    weights, positive = weights[:, order], positive[order]
    ups = np.add.reduceat(weights * positive, starts, axis=1)
    downs = np.add.reduceat(weights * ~positive, starts, axis=1)
    below = np.cumsum(downs, axis=1) - downs
    right = (ups * (below + downs / 2)).sum(axis=1)
    return ratio(right, ups.sum(axis=1) * downs.sum(axis=1))


def ratio(numerator: Array, denominator: Array) -> Array:
    """Their quotient, NaN where the denominator is zero."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    quotient = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def mean(values: Array, weights: Array | None = None) -> Array:
    """The mean over the last axis of the values that are defined.

    With weights (S,R) and values (R,): one weighted mean a resample, (S,).
    """
    defined = np.isfinite(values)
    filled = np.where(defined, values, 0.0)
    if weights is None:
        return ratio(filled.sum(axis=-1), defined.sum(axis=-1).astype(np.float64))
    return ratio(weights @ filled, weights @ defined.astype(np.float64))
