"""Line charts as inline SVG whose colours follow the page, in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pseudolabel_kit.report.canvas import (
    COLOURS,
    MUTED,
    colour,
    dashes,
    drawing,
    dress,
    marker,
    named,
)

POINTS = 240  # as many as a small chart can show


@dataclass(frozen=True, kw_only=True)
class Line:
    """A named curve; points without a value are left out.

    Attributes:
        colour: its number, where a name keeps one colour over many charts.
        band: (low, high) at each x, shaded around the curve.
        told: the figure that the legend shows beside the name; the last value unless given.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    colour: int | None = None
    band: Sequence[tuple[float, float]] = ()
    told: str = ""

    @property
    def points(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The points that have a value, as float arrays."""
        y = np.array([np.nan if v is None else v for v in self.y], dtype=np.float64)
        keep = np.isfinite(y)
        return np.asarray(self.x, dtype=np.float64)[keep], y[keep]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A small chart and the sentence that explains it.

    Attributes:
        until: the last step of the run, so that charts side by side have one axis.
        x_label: what that axis counts.
        noisy: draw the values faint, and their running mean over them.
        marks: (step, word) of vertical lines.
        level: (value, word) of a horizontal line to compare with.
        from_zero: let the axis begin at 0, however far from it the curves are.
        size: width and height in inches, of which a page shows about a hundred pixels each.
    """

    title: str
    caption: str
    lines: Sequence[Line]
    until: float
    x_label: str = "step"
    noisy: bool = False
    marks: Sequence[tuple[float, str]] = ()
    level: tuple[float, str] | None = None
    from_zero: bool = True
    size: tuple[float, float] = (3.8, 2.0)

    @property
    def drawn(self) -> list[Line]:
        """The lines that have any value at all, each with its colour."""
        return [
            replace(line, colour=i if line.colour is None else line.colour)
            for i, line in enumerate(line for line in self.lines if len(line.points[0]))
        ]

    @property
    def legend(self) -> list[tuple[str, int, str]]:
        """Label, colour and figure of every line; a line called like the chart says "last"."""
        return [
            (
                "last" if line.label == self.title else line.label,
                (line.colour or 0) % COLOURS,
                line.told or short(self._last(line)),
            )
            for line in self.drawn
        ]

    def _last(self, line: Line) -> float:
        y = thinned(*line.points)[1]
        return float(smoothed(y)[-1] if self.noisy else y[-1])

    @property
    def svg(self) -> Markup:
        """The drawing."""
        return draw(self)


def draw(chart: Chart) -> Markup:
    """A chart as inline SVG."""
    return drawing(*chart.size, f"{chart.title}. {chart.caption}", partial(_paint, chart))


def _paint(chart: Chart, figure: Figure) -> None:
    width, height = chart.size
    figure.subplots_adjust(
        left=0.53 / width, right=1 - 0.19 / width, top=1 - 0.07 / height, bottom=0.4 / height
    )
    axes = figure.add_subplot()
    for line in chart.drawn:
        _plot(axes, line, noisy=chart.noisy)
    dress(axes)
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.locator_params(axis="y", nbins=4)
    axes.set_xlabel(chart.x_label, color=MUTED)
    _bound(axes, chart)
    _mark(axes, chart)


def _plot(axes: Axes, line: Line, *, noisy: bool) -> None:
    x, y = thinned(*line.points)
    number = line.colour or 0
    if line.band:
        low, high = zip(*line.band, strict=True)
        shade = axes.fill_between(line.x, low, high, color=colour(number), alpha=0.14, linewidth=0)
        shade.set_gid(named(number))
    style: dict[str, Any] = {"color": colour(number), "gid": named(number), "clip_on": noisy}
    if noisy:
        axes.plot(x, y, linewidth=0.8, alpha=0.3, **style)
        y = smoothed(y)
    dots = marker(number) if len(x) < 13 else ""
    (drawn,) = axes.plot(x, y, linewidth=1.8, marker=dots, markersize=3.5, **style)
    if dashes(number):
        drawn.set_dashes(dashes(number))


def _bound(axes: Axes, chart: Chart) -> None:
    """From 0, or around the level, to a little above the curves: more where words stand there."""
    values = np.concatenate([line.points[1] for line in chart.drawn])
    bands = [bound for line in chart.drawn for bounds in line.band for bound in bounds]
    values = np.append(values, bands)
    low, high = float(values.min()), float(values.max())
    if chart.from_zero:
        low = min(low, 0.0)
    if chart.noisy:  # one wild step shall not flatten all others
        curves = [line.points[1] for line in chart.drawn]
        high = max(max(smoothed(y).max(), np.percentile(y, 98)) for y in curves)
    if chart.level:
        low, high = min(float(values.min()), chart.level[0]), max(high, chart.level[0])
    margin = (0.2 if chart.marks else 0.08) * (high - low) or 0.1
    axes.set_ylim(low - (margin if chart.level or low < 0 else 0), high + margin)
    axes.set_xlim(0, chart.until)


def _mark(axes: Axes, chart: Chart) -> None:
    for step, word in chart.marks:
        axes.axvline(step, color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)))
        late = step > chart.until / 2
        axes.annotate(
            word,
            (step, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if late else 4, -2),
            textcoords="offset points",
            ha="right" if late else "left",
            va="top",
            color=MUTED,
            fontsize=8,
        )
    if chart.level:
        axes.axhline(chart.level[0], color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.annotate(
            chart.level[1],
            (0, chart.level[0]),
            xycoords=("axes fraction", "data"),
            xytext=(3, 2),
            textcoords="offset points",
            color=MUTED,
            fontsize=8,
        )


def thinned(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most 240 points, each the mean of its neighbours."""
    if len(x) <= POINTS:
        return x, y
    edges = np.linspace(0, len(x), POINTS + 1).astype(int)
    pairs = list(pairwise(edges))
    return (
        np.array([x[a:b].mean() for a, b in pairs]),
        np.array([y[a:b].mean() for a, b in pairs]),
    )


def smoothed(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over a window of a twentieth around each point, cut off at the ends.

    >>> smoothed(np.array([0.0, 3.0, 6.0])).tolist()
    [1.5, 3.0, 4.5]
    """
    kernel = np.ones(min(len(y), max(3, len(y) // 20)))
    shares = np.convolve(np.ones_like(y), kernel, mode="same")
    mean: NDArray[np.float64] = np.convolve(y, kernel, mode="same") / shares
    return mean


def short(value: float) -> str:
    """A figure in three digits.

    >>> short(0.07123), short(0.00001), short(1234.5)
    ('0.0712', '1e-05', '1.23e+03')
    """
    return f"{value:.3g}"
