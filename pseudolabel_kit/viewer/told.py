"""The figures of a slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.viewer.agreement import agreement
from pseudolabel_kit.viewer.answers import Answers
from pseudolabel_kit.viewer.stack import Slice


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is said of one slice; None stands for what is not defined.

    Attributes:
        title: of the slice, or "".
        aspect: width over height of its image.
        label: the true class, where it was asked for and is known.
        probabilities: of the classes.
        lesion: the share of the image that is marked.
        truth: the share that is a lesion, where that was asked for and is known.
        taught: the share that the pseudo label would teach.
        dice: overlap of mask and truth; None where both are empty, too.
        maps: of each explanation (inside, overlap), see `agreement`, by its reference.
        inside, overlap: their means over the explanations.
    """

    title: str
    aspect: float
    label: str | None
    probabilities: Sequence[float] | None
    lesion: float | None
    truth: float | None
    taught: float | None
    dice: float | None
    maps: Mapping[str, Sequence[float]]
    inside: float | None
    overlap: float | None


def told(answers: Answers, i: int, each: Slice, truth: NDArray[np.bool_] | None) -> Told:
    """The figures of a slice, number `i` of some answers; `truth` (H,W) is on their grid."""
    mask = None if answers.marked is None else answers.marked[i]
    maps = {}
    if mask is not None:
        agreeing = {name: agreement(p[i], mask) for name, p in answers.evidence.items()}
        maps = {name: found for name, found in agreeing.items() if found}
    probabilities = answers.probabilities
    return Told(
        title=each.title,
        aspect=round(each.image.shape[2] / each.image.shape[1], 4),
        label=each.label,
        probabilities=None if probabilities is None else _rounded(probabilities[i]),
        lesion=None if mask is None else round(float(mask.mean()), 6),
        truth=None if truth is None else round(float(truth.mean()), 6),
        taught=None if answers.taught is None else round(float(answers.taught[i]), 4),
        dice=None if mask is None or truth is None else _dice(mask, truth),
        maps=maps,
        inside=_mean([found.inside for found in maps.values()]),
        overlap=_mean([found.overlap for found in maps.values()]),
    )


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float | None:
    total = int(one.sum() + other.sum())
    return round(2 * int((one & other).sum()) / total, 4) if total else None


def _rounded(values: NDArray[np.float32]) -> list[float]:
    return [round(float(value), 4) for value in values]


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None
