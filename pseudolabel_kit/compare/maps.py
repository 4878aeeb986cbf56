"""Differences over two axes: in which regime a method adds to another, and where it harms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TypeAlias

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pseudolabel_kit.compare.results import Comparison
from pseudolabel_kit.compare.statistics import Difference, Summary
from pseudolabel_kit.compare.words import interval_text, signed
from pseudolabel_kit.report.canvas import BAD, GOOD, INK, MUTED, drawing
from pseudolabel_kit.report.words import EVERY

Places: TypeAlias = Mapping[tuple[float, float], Difference]
STRONGEST = 0.55  # how opaque the largest difference is


def maps(comparison: Comparison, summary: Summary) -> list[tuple[str, Markup]]:
    """Each measure's map, by title; nothing unless rows say what they are set against."""
    found = []
    for measure in comparison.measures:
        if places := differences(comparison, summary, measure):
            title = EVERY[measure].title
            words = f"{title}: differences by {comparison.x_label} and {comparison.y_label}"
            xs, ys = (sorted({place[axis] for place in places}) for axis in (0, 1))
            paint = partial(_paint, comparison, measure, places, xs, ys)
            size = 0.9 + 1.25 * len(xs), 0.6 + 0.62 * len(ys)
            found.append((title, drawing(*size, words, paint)))
    return found


def differences(comparison: Comparison, summary: Summary, measure: str) -> Places:
    """By (x, y): what a row adds to the row that it names as `minus`."""
    return {
        (row.x, row.y): found
        for row in comparison.rows
        if row.x is not None
        and row.y is not None
        and (found := summary.pairs.get((row.name, row.minus), {}).get(measure))
    }


def _paint(
    comparison: Comparison,
    measure: str,
    places: Places,
    xs: Sequence[float],
    ys: Sequence[float],
    figure: Figure,
) -> None:
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=0.8 / width, right=1 - 0.1 / width, top=1 - 0.05 / height, bottom=0.52 / height
    )
    axes = figure.add_subplot()
    largest = max(abs(found.mean) for found in places.values()) or 1.0
    for (x, y), found in places.items():
        good = (found.mean < 0) == EVERY[measure].less_is_better
        shade = GOOD if good else BAD
        _tile(axes, xs.index(x), ys.index(y), found, shade, abs(found.mean) / largest)
    _dress(axes, comparison, xs, ys)


def _tile(
    axes: Axes, column: int, line: int, found: Difference, shade: str, strength: float
) -> None:
    axes.add_patch(
        Rectangle(
            (column - 0.48, line - 0.46), 0.96, 0.92, color=shade, linewidth=0,
            alpha=STRONGEST * strength,
        )
    )  # fmt: skip
    weight = "bold" if found.sign else "normal"
    axes.text(
        column, line + 0.1, signed(found.mean), color=INK, ha="center", va="center",
        fontsize=10, fontweight=weight,
    )  # fmt: skip
    axes.text(
        column, line - 0.24, interval_text(found), color=INK, ha="center", va="center", fontsize=7
    )


def _dress(axes: Axes, comparison: Comparison, xs: Sequence[float], ys: Sequence[float]) -> None:
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=MUTED, length=0, labelcolor=MUTED)
    axes.set_xlim(-0.5, len(xs) - 0.5)
    axes.set_ylim(-0.5, len(ys) - 0.5)
    axes.set_xticks(range(len(xs)), [f"{x:g}" for x in xs])
    axes.set_yticks(range(len(ys)), [f"{y:g}" for y in ys])
    axes.set_xlabel(comparison.x_label, color=MUTED)
    axes.set_ylabel(comparison.y_label, color=MUTED)
