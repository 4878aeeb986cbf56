"""A comparison as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pseudolabel_kit.compare.results import Comparison, Row
from pseudolabel_kit.compare.statistics import Summary, summarise
from pseudolabel_kit.compare.words import (
    COSTS,
    MARKS,
    cost_text,
    difference_text,
    notes,
    short_of,
    spread_text,
)
from pseudolabel_kit.report.words import EVERY

NAME = 24  # the widest column of names: 120 columns hold four measures beside it
GAP = 3  # a column's padding and the line beside it


@dataclass(frozen=True)
class _Tables:
    """As many measures abreast as the console is wide."""

    comparison: Comparison
    summary: Summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        heads = Group(_corner(self.comparison), *map(_name, self.comparison.rows))
        named = Measurement.get(console, options, heads)
        names = min(NAME, named.maximum)
        fitting = (options.max_width - 1 - names - GAP) // (self._widest + GAP)
        for some in abreast(self.comparison.measures, max(1, fitting)):
            yield _measures(self.comparison, self.summary, some)

    @property
    def _widest(self) -> int:
        """The characters of the widest column of a measure."""
        cells = [
            line
            for measure in self.comparison.measures
            for cell in _column(self.comparison, self.summary, measure)
            for line in cell.plain.splitlines()
        ]
        return max(map(len, cells))


def terminal(comparison: Comparison) -> RenderableType:
    """Measures, abreast where the console holds them, costs, what failed, how to read it all."""
    summary = summarise(comparison)
    tables = _Tables(comparison, summary)
    return Group(tables, _costs(comparison, summary), *_footer(comparison, summary))


def abreast(measures: Sequence[str], most: int) -> list[Sequence[str]]:
    """The measures of each table, at most so many and as even as can be.

    >>> abreast(["a", "b", "c", "d", "e"], 4)
    [['a', 'b', 'c'], ['d', 'e']]
    """
    each = math.ceil(len(measures) / math.ceil(len(measures) / most))
    return [measures[start : start + each] for start in range(0, len(measures), each)]


def _measures(comparison: Comparison, summary: Summary, measures: Sequence[str]) -> Table:
    table = _table(_corner(comparison))
    columns = [_column(comparison, summary, measure) for measure in measures]
    for head, *_ in columns:
        table.add_column(head, no_wrap=True)
    for row, *cells in zip(comparison.rows, *(cells for _, *cells in columns), strict=True):
        table.add_row(_name(row), *cells)
    return table


def _column(comparison: Comparison, summary: Summary, measure: str) -> list[Text]:
    """A measure's head, and its cell of each row."""
    word = EVERY[measure]
    head = Text(word.title).append("\nless is better" if word.less_is_better else "")
    return [head, *(_cell(comparison, summary, row.name, measure) for row in comparison.rows)]


def _costs(comparison: Comparison, summary: Summary) -> Table:
    table = _table(Text())
    for word in COSTS.values():
        table.add_column(word.title, justify="right")
    table.add_column("Seeds", justify="right")
    for row in comparison.rows:
        costs = summary.costs[row.name]
        seeds = f"{len(row.finished)} of {len(comparison.seeds)}"
        table.add_row(_name(row), *(cost_text(costs, name) for name in COSTS), seeds)
    return table


def _table(corner: Text) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column(corner, max_width=NAME)
    return table


def _corner(comparison: Comparison) -> Text:
    """What stands above the names: which side of the split the measures are of."""
    return Text(f"on {comparison.split}", style="not bold dim")


def _name(row: Row) -> Text:
    return Text(row.name).append(f" {row.note}" if row.note else "", style="dim")


def _cell(comparison: Comparison, summary: Summary, row: str, measure: str) -> Text:
    """Mean, spread and mark; beneath them, dim unless told apart from 0, the difference."""
    spread = summary.spreads[row].get(measure)
    mark = summary.marks[row].get(measure)
    text = Text(spread_text(spread), style="bold" if mark == "best" else "")
    text.append(f" {MARKS[mark]}" if mark else "")
    if few := short_of(spread, comparison):
        text.append(f"\n{few}", style="not bold dim")
    if found := summary.differences.get(row, {}).get(measure):
        style = "not bold" if found.sign else "not bold dim"
        text.append("\n" + difference_text(found).replace("0.", "."), style=style)
        if few := short_of(found, comparison):
            text.append(f"\n{few}", style="not bold dim")
    return text


def _footer(comparison: Comparison, summary: Summary) -> Iterator[Text]:
    for name, seed, reason in comparison.unfinished("failed"):
        yield Text(f"failed: {name}, seed {seed}: {reason}", style="red")
    if missing := comparison.unfinished("missing"):
        cells = ", ".join(f"{name} seed {seed}" for name, seed, _ in missing)
        yield Text(f"not run yet: {cells}", style="yellow")
    yield Text(" ".join(notes(comparison, summary)), style="dim")
