"""Differences over two axes: in which regime a method adds to another, and where it harms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from textwrap import wrap
from typing import Any, NamedTuple, TypeAlias

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pseudolabel_kit.compare.results import Comparison
from pseudolabel_kit.compare.statistics import Difference, Summary
from pseudolabel_kit.compare.words import interval_text, signed
from pseudolabel_kit.report.canvas import BAD, GOOD, INK, MUTED, drawing
from pseudolabel_kit.report.words import EVERY

WIDE, HIGH = 1.5, 0.85  # inches of a tile, which hold an interval in legible letters
LINE, LETTER = 0.17, 0.076  # inches of a line of text, and of a letter, in the widest of fonts
PALEST, STRONGEST = 0.15, 0.55  # how opaque a tile is of no difference, and from `FULL` on
FULL = 0.2  # the same for all maps, so that they can be compared


class Map(NamedTuple):
    """A measure's map.

    Attributes:
        inches: how wide it is where it is not scaled.
    """

    measure: str
    svg: Markup
    inches: float


class Tile(NamedTuple):
    """What a row adds, and the figure of the row that it adds this to."""

    gain: Difference
    base: float


Places: TypeAlias = Mapping[tuple[float, float], Tile]


@dataclass(frozen=True)
class _Grid:
    """Where tiles and words stand, in inches."""

    xs: list[float]
    ys: list[float]
    x_label: str
    y_label: str

    @property
    def left(self) -> float:
        return 0.15 + LETTER * max(len(f"{y:g}") for y in self.ys)

    @property
    def width(self) -> float:
        return self.left + WIDE * len(self.xs) + 0.1

    @property
    def above(self) -> list[str]:
        """The label of y, in lines that fit above the tiles."""
        return wrap(f"↑ {self.y_label}", int(self.width / LETTER))

    @property
    def below(self) -> list[str]:
        """The label of x, in lines that fit below the tiles."""
        return wrap(f"{self.x_label} →", int((self.width - self.left) / LETTER))

    @property
    def top(self) -> float:
        return 0.1 + LINE * len(self.above)

    @property
    def bottom(self) -> float:
        return 0.26 + LINE * len(self.below)

    @property
    def height(self) -> float:
        return self.top + HIGH * len(self.ys) + self.bottom


def maps(comparison: Comparison, summary: Summary) -> list[Map]:
    """Each measure's map; nothing unless rows say what they are set against."""
    found = []
    for measure in comparison.measures:
        if places := differences(comparison, summary, measure):
            title = EVERY[measure].title
            xs, ys = (sorted({place[axis] for place in places}) for axis in (0, 1))
            grid = _Grid(xs, ys, comparison.x_label or "x", comparison.y_label or "y")
            words = f"{title}: differences by {grid.x_label} and {grid.y_label}"
            paint = partial(_paint, grid, places, EVERY[measure].less_is_better)
            found.append(Map(measure, drawing(grid.width, grid.height, words, paint), grid.width))
    return found


def differences(comparison: Comparison, summary: Summary, measure: str) -> Places:
    """By (x, y): what a row adds to the row that it names as `minus`."""
    return {
        (row.x, row.y): Tile(found, summary.spreads[row.minus][measure].mean)
        for row in comparison.rows
        if row.x is not None
        and row.y is not None
        and (found := summary.pairs.get((row.name, row.minus), {}).get(measure))
    }


def _paint(grid: _Grid, places: Places, less_is_better: bool, figure: Figure) -> None:
    figure.subplots_adjust(
        left=grid.left / grid.width,
        right=1 - 0.1 / grid.width,
        top=1 - grid.top / grid.height,
        bottom=grid.bottom / grid.height,
    )
    axes = figure.add_subplot()
    for (x, y), tile in places.items():
        _tile(axes, grid.xs.index(x), grid.ys.index(y), tile, less_is_better)
    _dress(axes, grid)


def _tile(axes: Axes, column: int, line: int, tile: Tile, less_is_better: bool) -> None:
    """A gain, its interval and its base: in colour where told apart, else a dashed outline."""
    gain, base = tile
    axes.add_patch(
        Rectangle((column - 0.48, line - 0.46), 0.96, 0.92, **_look(gain, less_is_better))
    )
    weight = "bold" if gain.sign else "normal"
    write = partial(axes.text, column, ha="center", va="center")
    write(line + 0.2, signed(gain.mean), color=INK, fontsize=11, fontweight=weight)
    write(line - 0.06, interval_text(gain), color=INK, fontsize=9)
    write(line - 0.3, f"on {base:.3f}", color=MUTED, fontsize=9)


def _look(found: Difference, less_is_better: bool) -> dict[str, Any]:
    if not found.sign:
        return {"fill": False, "edgecolor": MUTED, "linewidth": 0.8, "linestyle": (0, (3, 3))}
    strength = min(1.0, abs(found.mean) / FULL)
    return {
        "color": GOOD if (found.sign < 0) == less_is_better else BAD,
        "linewidth": 0,
        "alpha": PALEST + (STRONGEST - PALEST) * strength,
    }


def _dress(axes: Axes, grid: _Grid) -> None:
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=MUTED, length=0, labelcolor=MUTED)
    axes.set_xlim(-0.5, len(grid.xs) - 0.5)
    axes.set_ylim(-0.5, len(grid.ys) - 0.5)
    axes.set_xticks(range(len(grid.xs)), [f"{x:g}" for x in grid.xs])
    axes.set_yticks(range(len(grid.ys)), [f"{y:g}" for y in grid.ys])
    axes.set_xlabel("\n".join(grid.below), color=MUTED)
    axes.figure.text(
        0.03 / grid.width, 1 - 0.04 / grid.height, "\n".join(grid.above), color=MUTED, va="top"
    )
