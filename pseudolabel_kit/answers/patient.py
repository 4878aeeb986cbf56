"""From the classes of slices to that of a patient: top-k pooling of multiple-instance learning.

A lesion shows in some slices alone, so the mean over all would drown it, and the largest would
hang on one slice. Between them lies the mean over the k slices that look most like a lesion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SHARE = 0.1  # of the slices: k is a tenth of them, and at least one


def pooled(
    scores: NDArray[np.float32], lesion_classes: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The patient's class probabilities (N,), and the slices that they are the mean of.

    Args:
        scores: class probabilities of each slice (D,N).
        lesion_classes: those whose sum puts slices in order. Where every class can hold a
            lesion, nothing does, and the mean is that of all slices.
    """
    depth, classes = scores.shape
    if len(lesion_classes) == classes:
        chosen = np.arange(depth)
    else:
        lesion = scores[:, list(lesion_classes)].sum(axis=1)
        first = np.argsort(-lesion, kind="stable")[: max(1, math.ceil(SHARE * depth))]
        chosen = np.sort(first)
    return scores[chosen].mean(axis=0, dtype=np.float64), chosen
