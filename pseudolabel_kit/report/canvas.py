"""Drawings as inline SVG whose colours follow the page, in light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

COLOURS = 6
# Colours that are drawn as placeholders and become variables of the page's style sheet.
MUTED, GRID, INK, GOOD, BAD = (f"#0000e{i}" for i in range(5))
SERIES = tuple(f"#0000f{i}" for i in range(COLOURS))
_NAMED = zip((MUTED, GRID, INK, GOOD, BAD), ("muted", "grid", "ink", "good", "bad"), strict=True)
_VARIABLES = {colour: f"var(--{name})" for colour, name in _NAMED} | {
    colour: f"var(--s{i})" for i, colour in enumerate(SERIES)
}
DASHES = ((), (4, 1.6), (1.2, 1.4))
MARKERS = ("o", "s", "^")


def drawing(width: float, height: float, words: str, paint: Callable[[Figure], None]) -> Markup:
    """What `paint` puts on an empty figure, as inline SVG that scales to its place.

    Args:
        width, height: in inches, of which a page shows about a hundred pixels each.
        words: what those are told who do not see it.
    """
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report", "font.size": 9}):
        figure = Figure(figsize=(width, height))
        FigureCanvasSVG(figure)
        paint(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return Markup(_inline(buffer.getvalue(), words))


def dress(axes: Axes, grid: str = "y") -> None:
    """Nothing but a faint grid along one axis, the line below, and muted figures."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0, labelcolor=MUTED)
    axes.tick_params(axis="x", pad=6)  # clear of the first figure of the other axis


def colour(series: int) -> str:
    """The colour of a numbered series; beyond six they come again, dashed."""
    return SERIES[series % COLOURS]


def dashes(series: int) -> tuple[float, ...]:
    """On and off lengths of a numbered series' line; empty = solid."""
    return DASHES[series // COLOURS % len(DASHES)]


def marker(series: int) -> str:
    """The shape of a numbered series' points."""
    return MARKERS[series // COLOURS % len(MARKERS)]


def named(series: int) -> str:
    """The id of everything drawn of a series: it becomes a class that a page can style."""
    return f"series-{series}"


def _inline(svg: str, words: str) -> str:
    """The drawing alone: no prologue, no styles and no ids that would reach into the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sid="[A-Za-z0-9]+_\d+"', "", svg)
    svg = re.sub(r'\sid="(series-\d+)"', r' class="\1"', svg)
    svg = re.sub(r'\s(width|height)="[\d.]+pt"', "", svg, count=2)
    for placeholder, variable in _VARIABLES.items():
        svg = svg.replace(placeholder, variable)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(words)}"', 1)
