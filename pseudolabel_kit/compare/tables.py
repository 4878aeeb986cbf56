"""A comparison as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
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

ABREAST = 4  # measures with differences that 120 columns hold beside a name
NAME = 30


def terminal(comparison: Comparison) -> RenderableType:
    """Measures, up to four abreast, then costs, what failed, and how to read it all."""
    summary = summarise(comparison)
    tables = [_measures(comparison, summary, some) for some in abreast(comparison.measures)]
    return Group(*tables, _costs(comparison, summary), *_footer(comparison, summary))


def abreast(measures: Sequence[str]) -> list[Sequence[str]]:
    """The measures of each table, as even as can be.

    >>> abreast(["a", "b", "c", "d", "e"])
    [['a', 'b', 'c'], ['d', 'e']]
    """
    each = math.ceil(len(measures) / math.ceil(len(measures) / ABREAST))
    return [measures[start : start + each] for start in range(0, len(measures), each)]


def _measures(comparison: Comparison, summary: Summary, measures: Sequence[str]) -> Table:
    table = _table()
    for measure in measures:
        word = EVERY[measure]
        table.add_column(word.title + (" (less is better)" if word.less_is_better else ""))
    for row in comparison.rows:
        table.add_row(_name(row), *(_cell(comparison, summary, row.name, m) for m in measures))
    return table


def _costs(comparison: Comparison, summary: Summary) -> Table:
    table = _table()
    for word in COSTS.values():
        table.add_column(word.title, justify="right")
    table.add_column("Seeds", justify="right")
    for row in comparison.rows:
        costs = summary.costs[row.name]
        seeds = f"{len(row.finished)} of {len(comparison.seeds)}"
        table.add_row(_name(row), *(cost_text(costs, name) for name in COSTS), seeds)
    return table


def _table() -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("", max_width=NAME)
    return table


def _name(row: Row) -> Text:
    return Text(row.name).append(f" {row.note}" if row.note else "", style="dim")


def _cell(comparison: Comparison, summary: Summary, row: str, measure: str) -> Text:
    """Mean, spread and mark; beneath them, dim unless told apart from 0, the difference."""
    spread = summary.spreads[row].get(measure)
    mark = summary.marks[row].get(measure)
    text = Text(spread_text(spread), style="bold" if mark == "best" else "")
    text.append(f" {MARKS[mark]}" if mark else "")
    if few := short_of(spread, comparison):
        text.append(f"\n{few}", style="dim")
    if found := summary.differences.get(row, {}).get(measure):
        style = "not bold" if found.sign else "not bold dim"
        text.append("\n" + difference_text(found).replace("0.", "."), style=style)
    return text


def _footer(comparison: Comparison, summary: Summary) -> Iterator[Text]:
    for name, seed, reason in comparison.unfinished("failed"):
        yield Text(f"failed: {name}, seed {seed}: {reason}", style="red")
    if missing := comparison.unfinished("missing"):
        cells = ", ".join(f"{name} seed {seed}" for name, seed, _ in missing)
        yield Text(f"not run yet: {cells}", style="yellow")
    yield Text(" ".join(notes(comparison, summary)), style="dim")
