"""A fabricated comparison folder, like one that real runs leave behind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report_folder import strips, write_json

from pseudolabel_kit.compare.cells import Cell, cells
from pseudolabel_kit.compare.results import Comparison, collect
from pseudolabel_kit.compare.spec import Spec
from pseudolabel_kit.engine.measures import MeasureTable, optional
from pseudolabel_kit.engine.scores import Columns, scores

ROWS, PATIENTS, PIXELS = 60, 15, 400.0
MEASURES = ("dice", "dice_patient", "accuracy", "auc")
HOLDS = np.arange(ROWS) % 3 > 0  # images that hold a lesion


def make_spec(names: Sequence[object], seeds: int = 3, **more: Any) -> Spec:
    """A comparison of rows that say nothing but their names, notes and x."""
    rows = [name if isinstance(name, Mapping) else {"name": name} for name in names]
    tables = {"title": "Table IV & friends", "seeds": range(seeds), "measures": MEASURES, **more}
    return Spec.model_validate({**tables, "row": rows})


def make_columns(skill: float, seed: int, heads: str = "both") -> Columns:
    """What a model of a skill in [0, 1] leaves of images that are the same for all."""
    truth = np.random.default_rng(7)
    label = truth.integers(0, 3, ROWS)
    lesion = np.where(HOLDS, truth.integers(20, 90, ROWS), 0).astype(np.float64)
    hardness = truth.normal(0, 0.12, ROWS)
    random = np.random.default_rng(seed)
    share = np.clip(skill + hardness + random.normal(0, 0.04, ROWS), 0.02, 0.98)
    hit, missed = np.round(share * lesion), lesion - np.round(share * lesion)
    wrong = np.round((1 - share) * 30)
    counts = np.stack([hit, wrong, missed, PIXELS - hit - wrong - missed], axis=-1)[:, None]
    noise = random.dirichlet([1, 1, 1], ROWS)
    sure = 0.6 * share[:, None] ** 2
    probabilities = sure * np.eye(3)[label] + (1 - sure) * noise
    return Columns(
        label=label if heads != "masks" else np.full(ROWS, -1),
        probabilities=probabilities if heads != "masks" else np.zeros((ROWS, 1)),
        counts=counts if heads != "classes" else np.zeros_like(counts),
        group=np.arange(ROWS) % PATIENTS,
        is_patient=np.ones(PATIENTS, dtype=np.bool_),
        row=np.arange(ROWS, dtype=np.uint64),
    )


def measured(columns: Columns) -> MeasureTable:
    """The measures of some columns."""
    everyone = np.ones((1, len(columns.is_patient)))
    return {name: optional(value[0]) for name, value in scores(columns, everyone).items()}


def make_cell(cell: Cell, columns: Columns, skill: float = 0.7, images: int = 4) -> None:
    """Write everything that a finished cell holds."""
    folder = cell.folder
    folder.mkdir(parents=True)
    (folder / "run.toml").write_text(cell.config.to_toml())
    (folder / "report.html").write_text("")
    found = measured(columns)
    write_json(folder / "provenance.json", {"data_hash": "d1a7a", "split_hash": "5b117"})
    lines = "".join(json.dumps(line) + "\n" for line in epochs(found, cell.seed))
    (folder / "metrics.jsonl").write_text(lines)
    evaluation = {"split": cell.split, "measures": found, "intervals": {}, "rows": ROWS}
    path = folder / f"evaluation-{cell.split}.json"
    write_json(path, evaluation | {"patients": PATIENTS, "step": 100})
    np.savez(path.with_suffix(".npz"), **vars(columns))
    write_json(folder / "cost.json", cost(skill, cell.seed))
    drawn = pictures(columns, skill, images)
    np.savez_compressed(folder / f"pictures-{cell.split}.npz", **drawn)  # type: ignore[arg-type]


def epochs(found: MeasureTable, seed: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    return [
        {
            "kind": "epoch",
            "epoch": epoch,
            "step": 50 * epoch,
            "measures": {
                name: value
                and value * (1 - np.exp(-epoch / 3)) * (1 + 0.03 * random.standard_normal())
                for name, value in found.items()
            },
        }
        for epoch in range(1, 13)
    ]


def cost(skill: float, seed: int) -> dict[str, Any]:
    seconds = 400 * skill**2 * (1 + 0.05 * seed)
    return {
        "seconds": seconds,
        "images": 9600,
        "images_per_second": 9600 / seconds,
        "peak_memory": int(4e9 * skill),
        "parameters": int(2e7 * skill),
        "device": "cpu (x86_64)",
    }


def pictures(columns: Columns, skill: float, images: int) -> dict[str, NDArray[Any]]:
    """Images of `report_folder`, and a decoder that blurs the truth the less it is skilled."""
    drawn = strips(images, 96)
    found = {name: drawn[name] for name in ("names", "image", "truth")}
    if columns.counts.any():
        shift = round(12 * (1 - skill))
        found["probability"] = np.roll(drawn["decoder"], shift, axis=-1)
    return {n: a if n == "names" else a.astype(np.float16) for n, a in found.items()}


def make_comparison(out: Path, spec: Spec, skills: Mapping[str, float], **heads: str) -> Comparison:
    """Finished cells for every row that has a skill; rows are told apart by it alone."""
    for cell in cells(spec, out):
        if (skill := skills.get(cell.row)) is not None:
            columns = make_columns(skill, cell.seed, heads.get(cell.row, "both"))
            make_cell(cell, columns, skill)
    return collect(spec, out)
