"""Line charts as inline SVG whose colours follow the page, in light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

COLOURS = 6
POINTS = 240  # as many as a small chart can show
# Colours that are drawn as placeholders and become variables of the page's style sheet.
_MUTED, _GRID = "#0000e0", "#0000e1"
_SERIES = tuple(f"#0000f{i}" for i in range(COLOURS))
_VARIABLES = {_MUTED: "var(--muted)", _GRID: "var(--grid)"} | {
    colour: f"var(--s{i})" for i, colour in enumerate(_SERIES)
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A named curve; points without a value are left out.

    Attributes:
        colour: its number, where a name keeps one colour over many charts.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    colour: int | None = None

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
        noisy: draw the values faint, and their running mean over them.
        marks: (step, word) of vertical lines.
        level: (value, word) of a horizontal line to compare with.
    """

    title: str
    caption: str
    lines: Sequence[Line]
    until: float
    noisy: bool = False
    marks: Sequence[tuple[float, str]] = ()
    level: tuple[float, str] | None = None

    @property
    def drawn(self) -> list[Line]:
        """The lines that have any value at all, each with its colour."""
        return [
            replace(line, colour=(i if line.colour is None else line.colour) % COLOURS)
            for i, line in enumerate(line for line in self.lines if len(line.points[0]))
        ]

    @property
    def legend(self) -> list[tuple[str, int, str]]:
        """Label, colour and last value of every line; a line called like the chart says "last"."""
        return [
            ("last" if ln.label == self.title else ln.label, ln.colour or 0, short(self._last(ln)))
            for ln in self.drawn
        ]

    def _last(self, line: Line) -> float:
        y = thinned(*line.points)[1]
        return float(smoothed(y)[-1] if self.noisy else y[-1])

    @property
    def svg(self) -> Markup:
        """The drawing."""
        return draw(self)


def draw(chart: Chart) -> Markup:
    """A chart as inline SVG, to be read at 300 to 500 pixels of width."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report", "font.size": 9}):
        figure = Figure(figsize=(3.8, 2.0))
        figure.subplots_adjust(left=0.14, right=0.95, top=0.965, bottom=0.2)
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for line in chart.drawn:
            _plot(axes, line, noisy=chart.noisy)
        _dress(axes)
        _bound(axes, chart)
        _mark(axes, chart)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return Markup(_inline(buffer.getvalue(), f"{chart.title}. {chart.caption}"))


def _plot(axes: Axes, line: Line, *, noisy: bool) -> None:
    x, y = thinned(*line.points)
    colour = _SERIES[line.colour or 0]
    if noisy:
        axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.3)
        y = smoothed(y)
    dots = "o" if len(x) < 13 else ""
    axes.plot(x, y, color=colour, linewidth=1.8, marker=dots, markersize=3.5, clip_on=noisy)


def _dress(axes: Axes) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, length=0, labelcolor=_MUTED)
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.locator_params(axis="y", nbins=4)
    axes.set_xlabel("step", color=_MUTED)


def _bound(axes: Axes, chart: Chart) -> None:
    """From 0, or around the level, to a little above the curves: more where words stand there."""
    values = np.concatenate([line.points[1] for line in chart.drawn])
    low, high = min(float(values.min()), 0.0), float(values.max())
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
        axes.axvline(step, color=_MUTED, linewidth=0.9, linestyle=(0, (3, 3)))
        late = step > chart.until / 2
        axes.annotate(
            word,
            (step, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if late else 4, -2),
            textcoords="offset points",
            ha="right" if late else "left",
            va="top",
            color=_MUTED,
            fontsize=8,
        )
    if chart.level:
        axes.axhline(chart.level[0], color=_MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.annotate(
            chart.level[1],
            (0, chart.level[0]),
            xycoords=("axes fraction", "data"),
            xytext=(3, 2),
            textcoords="offset points",
            color=_MUTED,
            fontsize=8,
        )


def _inline(svg: str, words: str) -> str:
    """The drawing alone: no prologue, no styles and no ids that would reach into the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sid="[A-Za-z0-9]+_\d+"', "", svg)
    svg = re.sub(r'\s(width|height)="[\d.]+pt"', "", svg, count=2)
    for placeholder, variable in _VARIABLES.items():
        svg = svg.replace(placeholder, variable)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(words)}"', 1)


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
