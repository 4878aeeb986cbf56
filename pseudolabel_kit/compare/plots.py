"""A comparison as drawings: differences, quality against cost, curves, sweeps."""

from __future__ import annotations

from functools import partial
from itertools import groupby

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pseudolabel_kit.compare.results import Comparison, Row
from pseudolabel_kit.compare.statistics import Difference, Summary
from pseudolabel_kit.report.canvas import (
    BAD,
    GOOD,
    INK,
    MUTED,
    colour,
    drawing,
    dress,
    marker,
    named,
)
from pseudolabel_kit.report.charts import Chart, Line
from pseudolabel_kit.report.words import EVERY

SMALL = (2.9, 2.1)  # inches of a chart, four abreast
_UNITS = ((2 * 3600, 3600, "hours"), (120, 60, "minutes"), (0, 1, "seconds"))  # from, seconds in it


def forest(comparison: Comparison, summary: Summary) -> Markup:
    """Each row's differences with their intervals, one panel a measure."""
    rows = [row for row in comparison.rows if row.name != comparison.against]
    words = f"Differences from {comparison.against} with 95% intervals"
    height = 0.75 + 0.27 * len(rows)
    return drawing(11.4, height, words, partial(_forest, comparison, summary, rows))


def _forest(comparison: Comparison, summary: Summary, rows: list[Row], figure: Figure) -> None:
    longest = max(len(row.name) for row in rows)
    height = figure.get_figheight()
    left = min(0.3, 0.012 + 0.0062 * longest)
    grid = figure.subplots(1, len(comparison.measures), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(
        left=left, right=0.99, top=1 - 0.27 / height, bottom=0.42 / height, wspace=0.18
    )
    for axes, measure in zip(grid, comparison.measures, strict=True):
        dress(axes, grid="x")
        axes.axvline(0, color=MUTED, linewidth=1)
        for y, row in enumerate(rows):
            if found := summary.differences[row.name].get(measure):
                _whisker(axes, y, found, less=EVERY[measure].less_is_better)
        axes.set_title(EVERY[measure].title, color=INK, fontsize=9.5, pad=6)
        axes.set_xlabel("less is better" if EVERY[measure].less_is_better else "", color=MUTED)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.margins(x=0.08)
    grid[0].set_ylim(len(rows) - 0.4, -0.6)
    grid[0].set_yticks(range(len(rows)), [row.name for row in rows])
    grid[0].tick_params(axis="y", labelcolor=INK)


def _whisker(axes: Axes, y: int, found: Difference, *, less: bool) -> None:
    verdict = -found.sign if less else found.sign
    shade = {1: GOOD, 0: MUTED, -1: BAD}[verdict]
    if found.interval:
        axes.plot(found.interval, [y, y], color=shade, linewidth=1.8, solid_capstyle="butt")
    axes.plot([found.mean], [y], "o", color=shade, markersize=5.5)


def against_time(comparison: Comparison, summary: Summary, measure: str) -> Markup:
    """A measure against the time of training, one point a row, with deviations over seeds."""
    words = f"{EVERY[measure].title} against the time of training"
    return drawing(*SMALL, words, partial(_scatter, comparison, summary, measure))


def _scatter(comparison: Comparison, summary: Summary, measure: str, figure: Figure) -> None:
    figure.subplots_adjust(left=0.15, right=0.97, top=0.97, bottom=0.21)
    axes = figure.add_subplot()
    dress(axes)
    longest = max(found["seconds"].mean for found in summary.costs.values() if "seconds" in found)
    seconds, unit = next((each, name) for least, each, name in _UNITS if longest >= least)
    for number, row in enumerate(comparison.rows):
        quality = summary.spreads[row.name].get(measure)
        time = summary.costs[row.name].get("seconds")
        if quality and time:
            spans = {"xerr": (time.deviation or 0.0) / seconds, "yerr": quality.deviation}
            _point(axes, number, time.mean / seconds, quality.mean, **spans)
    axes.margins(0.12)
    axes.locator_params(nbins=4)
    axes.set_xlim(left=max(0, axes.get_xlim()[0]))
    axes.set_xlabel(f"{unit} of training", color=MUTED)


def _point(
    axes: Axes, number: int, x: float, y: float, *, xerr: float | None, yerr: float | None
) -> None:
    points, _, bars = axes.errorbar(
        [x], [y], xerr=xerr, yerr=yerr, fmt=marker(number), color=colour(number),
        markersize=6.5, elinewidth=1.2,
    )  # fmt: skip
    for artist in (points, *bars):
        artist.set_gid(named(number))


def curves(comparison: Comparison) -> list[Chart]:
    """Each measure on val over steps: a row's mean over seeds, shaded from least to largest."""
    charts = []
    for measure in comparison.measures:
        lines = [
            line
            for number, row in enumerate(comparison.rows)
            if (line := _curve(row, number, measure)) is not None
        ]
        if lines:
            until = max(line.x[-1] for line in lines)
            title = EVERY[measure].title
            charts.append(
                Chart(
                    title=title,
                    caption="On val, by row.",
                    lines=lines,
                    until=until,
                    from_zero=False,
                    size=(6.2, 3.4),
                )
            )
    return charts


def _curve(row: Row, number: int, measure: str) -> Line | None:
    logged = sorted(
        (float(epoch["step"]), float(value))
        for measured in row.finished.values()
        for epoch in measured.epochs
        if (value := epoch["measures"].get(measure)) is not None
    )
    steps = {step: [v for _, v in same] for step, same in groupby(logged, key=lambda each: each[0])}
    if not steps:
        return None
    return Line(
        label=row.name,
        x=list(steps),
        y=[float(np.mean(values)) for values in steps.values()],
        colour=number,
        band=[(min(values), max(values)) for values in steps.values()],
    )


def sweeps(comparison: Comparison, summary: Summary) -> list[tuple[str, Markup]]:
    """Each measure over the rows' x, by title; nothing unless two rows have one, or on a map."""
    if sum(row.x is not None for row in comparison.rows) < 2 or any(
        row.y is not None for row in comparison.rows
    ):
        return []
    return [
        (
            EVERY[measure].title,
            drawing(
                *SMALL,
                f"{EVERY[measure].title} over {comparison.x_label}",
                partial(_sweep, comparison, summary, measure),
            ),
        )
        for measure in comparison.measures
    ]


def _sweep(comparison: Comparison, summary: Summary, measure: str, figure: Figure) -> None:
    figure.subplots_adjust(left=0.15, right=0.97, top=0.97, bottom=0.21)
    axes = figure.add_subplot()
    dress(axes)
    points = []
    for number, row in enumerate(comparison.rows):
        spread = summary.spreads[row.name].get(measure)
        if spread and row.x is not None:
            points.append((row.x, spread.mean, spread.deviation or 0.0))
        elif spread:
            axes.axhline(
                spread.mean, color=colour(number), linewidth=1.4, linestyle=(0, (4, 3))
            ).set_gid(named(number))
    if points:
        x, y, deviation = zip(*sorted(points), strict=True)
        axes.errorbar(
            x, y, yerr=deviation, fmt="-o", color=INK, linewidth=1.6, elinewidth=1.2, markersize=4.5
        )
    axes.margins(x=0.06, y=0.15)
    axes.locator_params(nbins=5)
    axes.set_xlabel(comparison.x_label, color=MUTED)
