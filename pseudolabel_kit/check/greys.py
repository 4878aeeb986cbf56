"""Faults of the images by themselves: empty ones, and those far brighter, darker or flatter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.check.finding import Finding
from pseudolabel_kit.check.measures import Figures, Measures

FAR = 8.0  # robust standard deviations
LEAST = 0.01  # greys: a smaller deviation counts as this, lest nearly equal images be outliers
FEWEST = 10  # images of which one can be an outlier
FLAT = 0.05 / 255  # standard deviation of an image of one grey
TO_DEVIATION = 1.4826  # from a median deviation to a standard one, where values are normal


def is_constant(measures: Measures) -> NDArray[np.bool_]:
    """Which images have one grey alone."""
    return measures.spread < FLAT


def greys(measures: Measures) -> Iterator[Finding]:
    """Constant images, and outliers in brightness or contrast."""
    constant = is_constant(measures)
    if constant.any():
        yield Finding(
            kind="constant-image",
            severity="warning",
            said="images show one grey and nothing else",
            fix="leave them out, or look for what went wrong when they were written",
            cases=tuple((int(i),) for i in np.flatnonzero(constant)),
            told=tuple(f"grey {measures.mean[i]:.3f}" for i in np.flatnonzero(constant)),
        )
    bright, varied = (_scores(each, ~constant) for each in (measures.mean, measures.spread))
    odd = np.flatnonzero(~constant & (np.maximum(abs(bright), abs(varied)) > FAR))
    if len(odd):
        yield Finding(
            kind="odd-intensity",
            severity="warning",
            said="images are far from the rest in brightness or contrast",
            fix="look for another window, an inverted scale or another kind of image",
            cases=tuple((int(i),) for i in odd),
            told=tuple(
                f"brightness {bright[i]:+.0f}, contrast {varied[i]:+.0f} robust deviations"
                for i in odd
            ),
        )


def _scores(values: Figures, judged: NDArray[np.bool_]) -> Figures:
    """How many robust standard deviations each value lies from the median of those judged."""
    if judged.sum() < FEWEST:
        return np.zeros_like(values)
    middle = np.median(values[judged])
    deviation = TO_DEVIATION * np.median(abs(values[judged] - middle))
    return np.asarray((values - middle) / max(deviation, LEAST))
