"""What a comparison has found so far, read from its cells' run folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import TypeAdapter

from pseudolabel_kit.compare.cells import Cell, cells
from pseudolabel_kit.compare.spec import Spec
from pseudolabel_kit.engine import cost
from pseudolabel_kit.engine.cost import Cost
from pseudolabel_kit.engine.measures import MeasureTable
from pseudolabel_kit.engine.scores import Columns
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.report.records import Json, parsed, read_arrays, read_records, read_text

State: TypeAlias = Literal["finished", "failed", "missing"]

_COST = TypeAdapter(Cost)


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What a finished run left.

    Attributes:
        measures: of the comparison's split, by name; None where undefined.
        columns: what they were computed from.
        cost: of its training, or None where it was not kept.
        config: the tables of `run.toml`.
        provenance: `provenance.json`.
        epochs: the records of measures on val.
        folder: the run's, where its pictures lie.
    """

    measures: MeasureTable
    columns: Columns
    cost: Cost | None
    config: Json
    provenance: Json
    epochs: Sequence[Json]
    folder: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """A cell: measured, failed for a reason, or neither yet."""

    seed: int
    measured: Measured | None = None
    reason: str | None = None

    @property
    def state(self) -> State:
        """Finished, failed or missing."""
        if self.measured is not None:
            return "finished"
        return "missing" if self.reason is None else "failed"


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """A row of the comparison, with the result of every seed.

    Attributes:
        name: unique in the comparison.
        note: a word beside the name, or "".
        x, y: where it stands on the axis of a sweep, or on a map; or None.
        minus: the row that it is compared with on the map, or "".
    """

    name: str
    note: str
    x: float | None
    y: float | None
    minus: str
    results: tuple[Result, ...]

    @property
    def finished(self) -> dict[int, Measured]:
        """What was measured, by seed."""
        return {r.seed: r.measured for r in self.results if r.measured is not None}


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Everything that tables and pages are made of.

    Attributes:
        title, note: of the specification.
        seeds: all of them; some cells may have failed or be missing.
        split: the side of the split that was measured.
        against: the row that differences are taken from.
        measures: the measures to show, in order.
        x_label, y_label: what `x` and `y` of the rows mean, or "".
        rows: in the order of the specification.
    """

    title: str
    note: str
    seeds: tuple[int, ...]
    split: str
    against: str
    measures: tuple[str, ...]
    x_label: str
    y_label: str
    rows: tuple[Row, ...]

    @property
    def finished(self) -> list[Measured]:
        """Everything that was measured, row by row."""
        return [measured for row in self.rows for measured in row.finished.values()]

    def unfinished(self, state: State) -> list[tuple[str, int, str]]:
        """Row, seed and reason of the cells in a state."""
        return [
            (row.name, result.seed, result.reason or "")
            for row in self.rows
            for result in row.results
            if result.state == state
        ]


def collect(spec: Spec, out: Path) -> Comparison:
    """Read what lies in a comparison's folder; a damaged run counts as failed.

    Raises:
        ConfigError, PluginError: a row of the specification is wrong.
    """
    found = {(cell.row, cell.seed): cell for cell in cells(spec, out)}
    return Comparison(
        title=spec.title,
        note=spec.note,
        seeds=spec.seeds,
        split=spec.split,
        against=spec.baseline.name,
        measures=spec.measures,
        x_label=spec.x_label,
        y_label=spec.y_label,
        rows=tuple(
            Row(
                name=row.name,
                note=row.note,
                x=row.x,
                y=row.y,
                minus=row.minus,
                results=tuple(_result(found[row.name, seed]) for seed in spec.seeds),
            )
            for row in spec.rows
        ),
    )


def _result(cell: Cell) -> Result:
    if cell.failure is not None:
        return Result(seed=cell.seed, reason=cell.failure)
    if not cell.finished:
        return Result(seed=cell.seed)
    try:
        return Result(seed=cell.seed, measured=_measured(cell.folder, cell.split))
    except RunError as error:
        return Result(seed=cell.seed, reason=str(error))


def _measured(run: Path, split: str) -> Measured:
    records = read_records(run)
    costs = run / cost.FILE
    return Measured(
        measures=next(e.measures for e in records.evaluations if e.split == split),
        columns=_columns(run, split),
        cost=parsed(costs, read_text(costs), _COST.validate_json) if costs.exists() else None,
        config=records.config,
        provenance=records.provenance,
        epochs=records.epochs,
        folder=run,
    )


def _columns(run: Path, split: str) -> Columns:
    return Columns(**read_arrays(run / f"evaluation-{split}.npz"))
