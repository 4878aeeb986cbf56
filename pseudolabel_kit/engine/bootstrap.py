"""Percentile intervals over patients (Efron and Tibshirani, 1993, chapter 13).

Patients are drawn with replacement, all their images together, since images of one patient
are no independent evidence; an image of no known patient is drawn by itself. A draw is a
vector of how often each counts, so two methods measured on the same rows with the same seed
share their draws, and the difference of their replicates is a paired bootstrap.

Percentile intervals of few patients are too narrow: the fewer there are, the oftener one excludes
0 where nothing differs, with two patients every other one. Such intervals are shown, but below one
floor, for all who read them, they call nothing better or worse.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.engine.measures import Outcome, columns
from pseudolabel_kit.engine.scores import Array, Columns, bearing, scores

LEVEL = 0.95
ENOUGH_ROWS, ENOUGH_OWNERS = 10, 5  # behind a difference that is called better or worse
CAUTION = (
    "Where nothing differs, about one interval of 20 excludes 0 by chance; with 5 to 10 patients, "
    f"about three. Nothing is called better or worse on fewer than {ENOUGH_ROWS} images or "
    f"{ENOUGH_OWNERS} patients."
)
_CHUNK = 2_000_000  # resamples x rows held at a time, 16 MB an array


def intervals(
    rows: Sequence[Outcome], resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """The 95% interval of each measure that at least half of the resamples define.

    Nothing where there are fewer than two groups to draw from, or no resamples.
    """
    if not rows:
        return {}
    replicated = replicates(columns(rows), resamples, seed)
    found = {name: interval(values) for name, values in replicated.items()}
    return {name: bounds for name, bounds in found.items() if bounds is not None}


def interval(values: Array) -> tuple[float, float] | None:
    """The 95% percentile interval of replicates (S,); None where fewer than half are defined."""
    tail = 50 * (1 - LEVEL)
    defined = values[np.isfinite(values)]
    if not 2 * len(defined) >= len(values) > 0:
        return None
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)


def sign(bounds: tuple[float, float] | None, *, enough: bool) -> int:
    """1 or -1 where an interval lies above or below 0, else 0: not told apart.

    Args:
        enough: whether the rows behind it are; 0 where they are not.
    """
    if bounds is None or not enough:
        return 0
    low, high = bounds
    return int(low > 0) - int(high < 0)


def suffices(behind: NDArray[np.int64]) -> bool:
    """Whether the rows behind a difference may call it better or worse, by whose they are (R,)."""
    return len(behind) >= ENOUGH_ROWS and len(np.unique(behind)) >= ENOUGH_OWNERS


def founded(table: Columns) -> frozenset[str]:
    """The measures whose differences may be called better or worse."""
    return frozenset(
        name
        for name, parts in bearing(table).items()
        if parts and all(suffices(table.group[part]) for part in parts)
    )


def replicates(table: Columns, resamples: int, seed: int) -> dict[str, Array]:
    """Each measure (resamples,) on resampled patients, NaN where a resample leaves it undefined.

    Nothing where there are fewer than two groups to draw from, or no resamples. Rows must
    stand in one order for replicates of two methods to be paired.
    """
    groups = len(table.is_patient)
    if groups < 2 or resamples == 0:
        return {}
    drawn = draws(groups, resamples, seed)
    chunks = np.array_split(drawn, max(1, resamples * len(table.group) // _CHUNK))
    parts = [scores(table, chunk.astype(np.float64)) for chunk in chunks]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def owners(patients: NDArray[np.int64]) -> NDArray[np.int64]:
    """(R,): whose each row is, by patients numbered from 1, where 0 is no known one."""
    return np.where(patients > 0, patients, -1 - np.arange(len(patients)))


def times(patients: NDArray[np.int64], resamples: int, seed: int) -> Array:
    """(resamples,R): how often each row counts when patients are drawn; rows of none each alone.

    No resamples where there are fewer than two to draw from.
    """
    groups, group = np.unique(owners(patients), return_inverse=True)
    if len(groups) < 2:
        return np.zeros((0, len(patients)))
    return draws(len(groups), resamples, seed)[:, group].astype(np.float64)


def draws(groups: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """(resamples, groups): how often each group is drawn."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples)
