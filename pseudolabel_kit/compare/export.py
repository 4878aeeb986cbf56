"""A comparison as files for other programs.

The CSV holds one line for each figure of each cell, tidy, and nothing that was computed over
cells. The JSON holds everything: cells, means, spreads, differences, marks and curves.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from pseudolabel_kit.compare.results import Comparison, Measured, Result, Row
from pseudolabel_kit.compare.statistics import COSTS, Summary

HEADER = ("row", "note", "x", "seed", "split", "state", "reason", "quantity", "value")


def to_csv(comparison: Comparison) -> str:
    """One line for each figure of each cell: all measures of the split, then the costs.

    An undefined measure has an empty value; a cell that failed or is missing has one line
    without a quantity, and its reason if there is one. Means and differences are in the JSON.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for row in comparison.rows:
        x = "" if row.x is None else repr(row.x)
        for result in row.results:
            for quantity, value in _figures(result):
                figure = "" if value is None else repr(value)
                cell = [result.seed, comparison.split, result.state, result.reason or ""]
                writer.writerow([row.name, row.note, x, *cell, quantity, figure])
    return text.getvalue()


def _figures(result: Result) -> Iterator[tuple[str, float | None]]:
    if result.measured is None:
        yield "", None
        return
    yield from result.measured.measures.items()
    if result.measured.cost is not None:
        yield from ((name, getattr(result.measured.cost, name)) for name in COSTS)


def to_json(comparison: Comparison, summary: Summary) -> str:
    """Every figure: cells, means and spreads, differences of all pairs, marks."""
    content = {
        "title": comparison.title,
        "note": comparison.note,
        "split": comparison.split,
        "seeds": comparison.seeds,
        "against": comparison.against,
        "measures": comparison.measures,
        "x_label": comparison.x_label,
        "y_label": comparison.y_label,
        "rows": [_row(row, summary) for row in comparison.rows],
        "differences": [
            {"row": first, "minus": second, "measure": measure, **asdict(found)}
            for (first, second), measures in summary.pairs.items()
            for measure, found in measures.items()
        ],
    }
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _row(row: Row, summary: Summary) -> dict[str, Any]:
    return {
        "name": row.name,
        "note": row.note,
        "x": row.x,
        "y": row.y,
        "minus": row.minus,
        "lacks": summary.lacks.get(row.name),
        "measures": _plain(summary.spreads[row.name]),
        "costs": _plain(summary.costs[row.name]),
        "marks": summary.marks[row.name],
        "cells": [_cell(result) for result in row.results],
    }


def _cell(result: Result) -> dict[str, Any]:
    cell: dict[str, Any] = {"seed": result.seed, "state": result.state}
    if result.measured is None:
        return cell | {"reason": result.reason}
    return cell | _found(result.measured)


def _found(measured: Measured) -> dict[str, Any]:
    return {
        "data_hash": measured.provenance.get("data_hash"),
        "measures": measured.measures,
        "cost": measured.cost and asdict(measured.cost),
        "curve": [
            {"epoch": e.get("epoch"), "step": e["step"], "measures": e["measures"]}
            for e in measured.epochs
        ],
    }


def _plain(spreads: Mapping[str, Any]) -> dict[str, Any]:
    return {name: asdict(spread) for name, spread in spreads.items()}
