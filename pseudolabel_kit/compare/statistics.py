"""What a comparison says: spread over seeds, paired differences, and which of them hold.

Two kinds of chance are kept apart. The standard deviation over seeds says how a measure moves
when the same method is trained again. The interval of a difference says how it would move had
other patients been measured: patients are drawn with replacement, the same draws for both
methods and for every seed, seeds paired (Efron and Tibshirani, 1993, chapter 16). Intervals
are not corrected for their number; those of few patients call nothing better or worse.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np

from pseudolabel_kit.compare.results import Comparison, Measured, Row
from pseudolabel_kit.engine.bootstrap import founded, interval, replicates, sign
from pseudolabel_kit.engine.measures import MeasureTable
from pseudolabel_kit.engine.scores import Array, Columns
from pseudolabel_kit.report.words import CLASSES, EVERY, MASKS

RESAMPLES = 1000
_IDENTITY = ("row", "group", "is_patient")
COSTS = ("seconds", "images_per_second", "peak_memory", "parameters")
Mark: TypeAlias = Literal["best", "tied"]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure over seeds: mean, standard deviation (n - 1; None for one seed), and n."""

    mean: float
    deviation: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One row minus another, averaged over the seeds that both have.

    Attributes:
        interval: 95% over patients; None where it cannot be drawn.
        n: how many pairs of seeds.
        enough: whether enough images and patients stand behind it to call it better or worse.
    """

    mean: float
    interval: tuple[float, float] | None
    n: int
    enough: bool

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies above or below 0 and enough stand behind it, else 0."""
        return sign(self.interval, enough=self.enough)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """A cell's measures, and what they would be on resampled patients, (S,) each.

    Attributes:
        founded: the measures that stand on enough images and patients.
    """

    values: MeasureTable
    replicates: Mapping[str, Array]
    founded: Collection[str]


Samples: TypeAlias = Mapping[int, Sample]  # by seed


@dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """What tables and charts show; by row, then by measure.

    Attributes:
        spreads: of the measures that at least one seed defines.
        costs: likewise, of training.
        differences: from the row that the comparison is against.
        pairs: of every two rows (the first minus the second), then by measure.
        marks: "best" where the interval against every other row excludes 0; else "tied" for
            the leading row and those that are not told apart from it. With one seed nothing is
            "best", and without the same seeds in all rows nothing is marked.
        unmarked: measures that rows have from different seeds.
        unfounded: measures whose intervals too few images or patients stand behind.
        lacks: what a row's model cannot do, like "does not segment".
        strangers: rows measured on other images or truth, which are compared without intervals.
    """

    spreads: Mapping[str, Mapping[str, Spread]]
    costs: Mapping[str, Mapping[str, Spread]]
    differences: Mapping[str, Mapping[str, Difference]]
    pairs: Mapping[tuple[str, str], Mapping[str, Difference]]
    marks: Mapping[str, Mapping[str, Mark]]
    unmarked: Sequence[str]
    unfounded: Sequence[str]
    lacks: Mapping[str, str]
    strangers: Sequence[str]


@lru_cache(maxsize=1)
def summarise(comparison: Comparison) -> Summary:
    """Compute everything, once: five seeds of eleven methods take seconds."""
    reference = _reference(comparison)
    samples = {row.name: _samples(row, reference) for row in comparison.rows}
    spreads = {row.name: _spreads(row) for row in comparison.rows}
    pairs = {
        (first, second): differences(samples[first], samples[second], comparison.measures)
        for first in samples
        for second in samples
        if first != second
    }
    leading = {m: marks(samples, pairs, m) for m in comparison.measures}
    return Summary(
        spreads=spreads,
        costs={row.name: _costs(row) for row in comparison.rows},
        differences={
            name: pairs[name, comparison.against] for name in samples if name != comparison.against
        },
        pairs=pairs,
        marks={n: {m: found[n] for m, found in leading.items() if n in found} for n in samples},
        unmarked=[m for m in comparison.measures if uneven(samples, m)],
        unfounded=[m for m in comparison.measures if unfounded(pairs.values(), m)],
        lacks={n: word for n in samples if (word := lacks(n, spreads, comparison.measures))},
        strangers=[
            row.name
            for row in comparison.rows
            if reference and any(not same_rows(m.columns, reference) for m in row.finished.values())
        ],
    )


def spread(values: Sequence[float]) -> Spread | None:
    """Mean and standard deviation of what the seeds gave; None of nothing."""
    if not values:
        return None
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(mean=float(np.mean(values)), deviation=deviation, n=len(values))


def differences(first: Samples, second: Samples, measures: Sequence[str]) -> dict[str, Difference]:
    """`first - second` of each measure that some seed defines for both."""
    found = {measure: difference(first, second, measure) for measure in measures}
    return {measure: each for measure, each in found.items() if each is not None}


def difference(first: Samples, second: Samples, measure: str) -> Difference | None:
    """`first - second`: seeds paired, then averaged; replicates likewise, draw by draw."""
    values, draws, enough = [], [], True
    for a, b in ((first[seed], second[seed]) for seed in first if seed in second):
        one, other = a.values.get(measure), b.values.get(measure)
        if one is None or other is None:
            continue
        values.append(one - other)
        enough = enough and measure in a.founded and measure in b.founded
        if measure in a.replicates and measure in b.replicates:
            draws.append(a.replicates[measure] - b.replicates[measure])
    if not values:
        return None
    whole = len(draws) == len(values)
    return Difference(
        mean=float(np.mean(values)),
        interval=interval(np.mean(draws, axis=0)) if whole else None,
        n=len(values),
        enough=enough,
    )


def marks(
    samples: Mapping[str, Samples],
    pairs: Mapping[tuple[str, str], Mapping[str, Difference]],
    measure: str,
) -> dict[str, Mark]:
    """Who leads in a measure: nobody where rows have other seeds, or none is ahead of another.

    One seed names no best: the same method trained again may fall behind.
    """
    better = -1 if EVERY[measure].less_is_better else 1
    values = _values(samples, measure)
    means = {name: float(np.mean(list(found.values()))) for name, found in values.items()}
    if uneven(samples, measure) or len(set(means.values())) < 2:
        return {}
    seeds = len(next(iter(values.values())))
    leader = max(means, key=lambda name: better * means[name])
    close = [
        name
        for name in means
        if name != leader and ((d := pairs[leader, name].get(measure)) is None or d.sign != better)
    ]
    return {leader: "best"} if seeds > 1 and not close else dict.fromkeys([leader, *close], "tied")


def uneven(samples: Mapping[str, Samples], measure: str) -> bool:
    """Whether rows have a measure from different seeds: their means are no fair ranking."""
    return len({frozenset(found) for found in _values(samples, measure).values()}) > 1


def unfounded(pairs: Iterable[Mapping[str, Difference]], measure: str) -> bool:
    """Whether an interval of a measure is shown that too few images or patients stand behind."""
    found = (each[measure] for each in pairs if measure in each)
    return any(d.interval is not None and not d.enough for d in found)


def _values(samples: Mapping[str, Samples], measure: str) -> dict[str, dict[int, float]]:
    """A measure by row and seed, of the rows that have it."""
    tables = {
        name: {
            seed: v for seed, each in found.items() if (v := each.values.get(measure)) is not None
        }
        for name, found in samples.items()
    }
    return {name: found for name, found in tables.items() if found}


def lacks(name: str, spreads: Mapping[str, Mapping[str, Spread]], measures: Collection[str]) -> str:
    """Which of the measures others have and this row has not, though it was measured."""
    for words, told in ((MASKS, "does not segment"), (CLASSES, "does not classify")):
        shown = words.keys() & set(measures)
        defined = {row: bool(shown & found.keys()) for row, found in spreads.items()}
        if spreads[name] and not defined[name] and any(defined.values()):
            return told
    return ""


def same_rows(first: Columns, second: Columns) -> bool:
    """Whether two runs were measured on the same images, with the same truth and patients."""
    pairs = ((getattr(first, name), getattr(second, name)) for name in _IDENTITY)
    return all(np.array_equal(one, other) for one, other in pairs)


def _reference(comparison: Comparison) -> Columns | None:
    """The images that count: those of the row that is compared against, if it has any."""
    ordered = sorted(comparison.rows, key=lambda row: row.name != comparison.against)
    return next((m.columns for row in ordered for m in row.finished.values()), None)


def _samples(row: Row, reference: Columns | None) -> dict[int, Sample]:
    return {seed: _sample(found, reference) for seed, found in row.finished.items()}


def _sample(found: Measured, reference: Columns | None) -> Sample:
    """With one seed of the generator for all cells, so that they share their draws."""
    comparable = reference is not None and same_rows(found.columns, reference)
    resamples = RESAMPLES if comparable else 0
    return Sample(
        values=found.measures,
        replicates=replicates(found.columns, resamples, seed=0),
        founded=founded(found.columns),
    )


def _spreads(row: Row) -> dict[str, Spread]:
    tables = [found.measures for found in row.finished.values()]
    values = {name: [v for t in tables if (v := t.get(name)) is not None] for name in EVERY}
    return {name: each for name in EVERY if (each := spread(values[name]))}


def _costs(row: Row) -> dict[str, Spread]:
    costs = [found.cost for found in row.finished.values() if found.cost is not None]
    values = {n: [float(v) for c in costs if (v := getattr(c, n)) is not None] for n in COSTS}
    return {name: each for name in COSTS if (each := spread(values[name]))}
