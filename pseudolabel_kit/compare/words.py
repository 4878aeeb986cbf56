"""Figures of a comparison as text, shared by the page, the terminal and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pseudolabel_kit.compare.results import Comparison
from pseudolabel_kit.compare.statistics import Difference, Mark, Spread, Summary
from pseudolabel_kit.engine.bootstrap import CAUTION
from pseudolabel_kit.report.words import EVERY

UNDEFINED = "–"
MARKS: Mapping[Mark, str] = {"best": "★", "tied": "☆"}


@dataclass(frozen=True)
class CostWord:
    """A cost's title, what it says in plain words, and how a value is written."""

    title: str
    plain: str
    text: Callable[[float], str]


def spread_text(spread: Spread | None) -> str:
    """Mean and standard deviation in three decimals, or a dash.

    >>> spread_text(Spread(mean=0.61549, deviation=0.0123, n=3))
    '0.615 ± 0.012'
    """
    if spread is None:
        return UNDEFINED
    deviation = "" if spread.deviation is None else f" ± {spread.deviation:.3f}"
    return f"{spread.mean:.3f}{deviation}"


def short_of(found: Spread | Difference | None, comparison: Comparison) -> str:
    """How many seeds, or pairs of them, a figure is of, where some are missing."""
    if found is None or found.n == len(comparison.seeds):
        return ""
    if isinstance(found, Difference):
        return f"{found.n} pair{'s' if found.n > 1 else ''}"
    return f"{found.n} of {len(comparison.seeds)} seeds"


def difference_text(difference: Difference) -> str:
    """A signed difference and its interval.

    >>> difference_text(Difference(mean=0.0214, interval=(0.003, 0.04), n=3, enough=True))
    '+0.021 [+0.003, +0.040]'
    """
    return f"{signed(difference.mean)} {interval_text(difference)}".rstrip()


def interval_text(difference: Difference) -> str:
    """The interval of a difference, or nothing where there is none.

    >>> interval_text(Difference(mean=0.0214, interval=(0.003, 0.04), n=3, enough=True))
    '[+0.003, +0.040]'
    """
    return "" if difference.interval is None else f"[{', '.join(map(signed, difference.interval))}]"


def signed(value: float) -> str:
    """Three decimals with a sign; what rounds to 0 has none.

    >>> signed(-0.0214), signed(-0.0001)
    ('−0.021', '0.000')
    """
    text = f"{value:+.3f}".replace("-", "−")
    return text[1:] if float(f"{value:.3f}") == 0 else text


def duration(seconds: float) -> str:
    """A time in its two largest units.

    >>> duration(7.25), duration(95), duration(3725)
    ('7.2 s', '1 min 35 s', '1 h 02 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float) -> str:
    """A count in three digits, by powers of a thousand.

    >>> size(950), size(1234567), size(23_400_000_000)
    ('950', '1.23 M', '23.4 G')
    """
    unit = ""
    for larger in (" k", " M", " G"):
        if count < 999.5:
            break
        count, unit = count / 1000, larger
    return f"{count:.3g}{unit}"


def rate(per_second: float) -> str:
    """Images a second.

    >>> rate(3.456), rate(251.4)
    ('3.5', '251')
    """
    return f"{per_second:.1f}" if per_second < 100 else f"{per_second:.0f}"


COSTS: Mapping[str, CostWord] = {
    "seconds": CostWord("Training", "time of all steps", duration),
    "images_per_second": CostWord("Images/s", "rows through training steps", rate),
    "peak_memory": CostWord("Memory", "largest, in training", lambda b: size(b) + "B"),
    "parameters": CostWord("Parameters", "of the deployed model", size),
}


def cost_text(costs: Mapping[str, Spread], name: str) -> str:
    """A cost's mean over seeds in human units, or a dash."""
    return COSTS[name].text(costs[name].mean) if name in costs else UNDEFINED


def notes(comparison: Comparison, summary: Summary) -> Iterator[str]:
    """How to read the figures, sentence by sentence: no more than applies."""
    seeds = len(comparison.seeds)
    if seeds > 1:
        each = (
            f"{seeds} each"
            if len(comparison.finished) == seeds * len(comparison.rows)
            else (f"up to {seeds}")
        )
        yield f"± is the standard deviation over seeds ({each})."
    else:
        yield "One seed each: how figures move from seed to seed is not known."
    if any(summary.differences.values()):
        drawn = drawn_over(comparison)
        yield (
            f"Differences are from {comparison.against}: paired by seed and averaged, with 95% "
            f"bootstrap intervals over {drawn}, the same draws for all rows and seeds. The "
            f"interval says what other {drawn} would change; what other seeds would is the ±."
        )
        yield f"Intervals are not corrected for their number. {CAUTION}"
    if summary.unfounded:
        titles = _titles(summary.unfounded)
        yield f"Too few images or patients to call anything better or worse: {titles}."
    shown = {mark for found in summary.marks.values() for mark in found.values()}
    if "best" in shown:
        yield (
            f"{MARKS['best']} better than every other row, all intervals excluding 0. These "
            f"are about other {drawn_over(comparison)} and the runs as they were trained: "
            "other seeds are not in them."
        )
    if "tied" in shown:
        yield f"{MARKS['tied']} the leading row, and rows that are not told from it."
    if shown and seeds == 1:
        yield f"With one seed no row is given {MARKS['best']}."
    if summary.unmarked:
        yield f"No row is marked where rows have different seeds: {_titles(summary.unmarked)}."
    for name, told in summary.lacks.items():
        yield f"{UNDEFINED} {name} {told}."
    for name in summary.strangers:
        other = f"other images or other truth than {comparison.against}"
        yield f"{name} was measured on {other}: no intervals."


def _titles(measures: Iterable[str]) -> str:
    return "; ".join(EVERY[measure].title for measure in measures)


def drawn_over(comparison: Comparison) -> str:
    """What the bootstrap draws: patients, or images where no patient is known."""
    known = any(measured.columns.is_patient.any() for measured in comparison.finished)
    return "patients" if known else "images"
