"""Measuring a model on one side of the split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from pseudolabel_kit.config import Config
from pseudolabel_kit.data.source import open_store
from pseudolabel_kit.data.store import Subset
from pseudolabel_kit.engine import guard
from pseudolabel_kit.engine.bootstrap import intervals
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.measures import Measures, MeasureTable, Outcome, columns
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.engine.predict import load
from pseudolabel_kit.engine.provenance import require_same_data
from pseudolabel_kit.interfaces import Split
from pseudolabel_kit.isolate import isolated

ROWS = 16


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The measures of a split, with 95% bootstrap intervals over patients (or images).

    Attributes:
        split: the side of the split.
        measures: by name; None where the rows do not define it.
        intervals: (low, high) by name, for the measures that have one.
        rows: how many images.
        patients: how many known patients.
        step: after how many steps of training the weights were taken.
    """

    split: str
    measures: MeasureTable
    intervals: dict[str, tuple[float, float]]
    rows: int
    patients: int
    step: int


def measure(model: nn.Module, rows: Subset, method: Method, fabric: Fabric) -> Measures:
    """Predict rows, divided among the processes, and gather what the measures need."""
    task = method.backbone.task
    measures = Measures(task.classes, task.mask_channels)
    mine = range(len(rows))[fabric.global_rank :: fabric.world_size]
    with isolated(model), torch.no_grad(), fabric.autocast():
        for start in range(0, len(mine), ROWS):
            positions = mine[start : start + ROWS]
            batch = rows.batch(positions, device=fabric.device)
            names = [rows.names[i] for i in positions]
            answer = guard.forward(method.backbone, model, batch.image, finite=False)
            measures.update(answer, batch, names, [rows.patients[i] for i in positions])
    _gather(measures, fabric)
    return measures


def selected(select: str, measures: Mapping[str, float | None]) -> float | None:
    """The measure that the best weights are chosen by; "auto" is Dice, or AUC without masks."""
    names = ("dice", "auc") if select == "auto" else (select,)
    known = (measures.get(name) for name in names)
    return next((value for value in known if value is not None), None)


def evaluate(
    run: str | PathLike[str],
    split: Split = "val",
    *,
    which: str = "best",
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure a run's model and write `evaluation-<split>.json` into its folder.

    Args:
        run: the run, or its folder.
        split: "val", "test", or a training side, for what the manifest knows of it.
        which: "best" on val, or "last".
        progress: told (rows decoded, rows in all) where images have to be decoded first.

    Raises:
        RunError: the folder holds no run or no sound checkpoint, or the data changed.
        DataError: the split holds no rows.
    """
    predictor = load(run, which=which)
    config = predictor.config
    store, splits = open_store(config.data, progress)
    require_same_data(RunFolder(Path(run)), config.data.source, store, splits)
    rows = store.subset(splits.side(split, config.data.source), implied=False)
    measures = measure(predictor.model, rows, predictor.method, predictor.fabric)
    return write_evaluation(RunFolder(Path(run)), measures, split, config, predictor.step)


def write_evaluation(
    folder: RunFolder, measures: Measures, split: str, config: Config, step: int
) -> Evaluation:
    """Add the intervals, and write what reports and comparisons read.

    `evaluation-<split>.npz` holds what the measures were computed from, rows by name, so that
    two runs on the same data can be compared row by row. It names nobody: patients are mere
    numbers in it, and rows are hashes of their name and truth.
    """
    rows = measures.rows
    found = Evaluation(
        split=split,
        measures=measures.compute(),
        intervals=intervals(rows, config.evaluate.bootstrap, config.train.seed),
        rows=len(rows),
        patients=len({row.patient for row in rows if row.patient is not None}),
        step=step,
    )
    folder.write_arrays(f"evaluation-{split}.npz", vars(columns(rows)))
    folder.write_json(f"evaluation-{split}.json", asdict(found))
    return found


def _gather(measures: Measures, fabric: Fabric) -> None:
    if fabric.world_size > 1:
        shares: list[list[Outcome]] = [[] for _ in range(fabric.world_size)]
        torch.distributed.all_gather_object(shares, measures.rows)
        for share in shares:
            measures.merge(share)
