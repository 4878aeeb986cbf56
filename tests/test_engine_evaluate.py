from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_support import write_manifest
from tiny import (
    SUPERVISED,
    assembled,
    same,
    steps,
    tiny,
    usual_lines,
    write_dataset,
)

from pseudolabel_kit.engine import evaluate as evaluate_module
from pseudolabel_kit.engine.evaluate import (
    Evaluation,
    evaluate,
    measure,
    write_evaluation,
)
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.loop import Loop
from pseudolabel_kit.engine.measures import Measures, columns
from pseudolabel_kit.engine.predict import load
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.interfaces import Batch, Prediction
from pseudolabel_kit.report.records import read_arrays, read_evaluations


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return assembled(tmp_path_factory.mktemp("run"), SUPERVISED)


def test_measuring_leaves_the_model_as_it_was(loop: Loop) -> None:
    model = loop.learner.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for training in (True, False):
        model.train(training)
        measure(model, loop.streams.val, loop.learner.method, loop.fabric)
        assert model.training is training
    assert same(before, model.state_dict())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("rows", [1, 4, 5, 100])
def test_batches_do_not_change_the_measures(
    rows: int, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure(loop.learner.model, loop.streams.val, loop.learner.method, loop.fabric)
    monkeypatch.setattr(evaluate_module, "ROWS", rows)
    parts = measure(loop.learner.model, loop.streams.val, loop.learner.method, loop.fabric)
    assert [row.name for row in parts.rows] == [row.name for row in whole.rows]
    assert parts.compute() == pytest.approx(whole.compute())


def test_evaluations_are_read_back_as_they_were_written(loop: Loop, tmp_path: Path) -> None:
    measures = measure(loop.learner.model, loop.streams.val, loop.learner.method, loop.fabric)
    for split in ("labelled", "val", "test"):
        written = write_evaluation(loop.folder, measures, split, loop.config, step=3)
    found = read_evaluations(loop.folder.path)
    assert [each.split for each in found] == ["test", "val", "labelled"]
    assert isinstance(found[0], Evaluation)
    assert found[0].measures == written.measures
    assert {k: tuple(v) for k, v in found[0].intervals.items()} == written.intervals
    assert (found[0].rows, found[0].patients, found[0].step) == (6, 6, 3)
    text = (loop.folder.path / "evaluation-val.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["split"] == "val"


def test_rows_are_known_by_name_and_truth_whatever_the_model_knows(loop: Loop) -> None:
    def rows(names: list[str], batch: Batch, model: Prediction) -> list[int]:
        measures = Measures(("a", "b", "c"))
        measures.update(model, batch, names, [None] * len(names))
        return [int(row) for row in columns(measures.rows).row]

    batch, names = loop.streams.val.batch([0, 1]), ["x", "y"]
    both = loop.learner.model(batch.image)
    found = rows(names, batch, both)
    assert len(set(found)) == 2
    for head in ("class_logits", "mask_logits"):
        assert rows(names, batch, replace(both, **{head: None})) == found
    other = {
        "mask": 1 - batch.mask,
        "label": (batch.label + 1) % 3,
        "has_mask": ~batch.has_mask,
        "has_label": ~batch.has_label,
    }
    for field, value in other.items():
        assert not set(rows(names, replace(batch, **{field: value}), both)) & set(found), field
    assert rows(["x", "z"], batch, both)[0] == found[0]
    assert rows(["x", "z"], batch, both)[1] != found[1]


def test_the_rows_of_an_evaluation_are_kept_and_name_nobody(loop: Loop, tmp_path: Path) -> None:
    measures = measure(loop.learner.model, loop.streams.val, loop.learner.method, loop.fabric)
    write_evaluation(loop.folder, measures, "val", loop.config, step=3)
    kept = read_arrays(loop.folder.path / "evaluation-val.npz")
    assert kept["row"].dtype == np.uint64
    assert len(np.unique(kept["row"])) == len(measures.rows)
    assert not any(array.dtype.kind in "US" for array in kept.values())


def test_a_model_that_diverged_is_told_by_an_image(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    bias = loop.learner.model.get_parameter("mask_head.bias")
    monkeypatch.setattr(bias, "data", torch.full_like(bias, float("nan")))
    with pytest.raises(RunError, match="scores are not finite, the training has diverged"):
        measure(loop.learner.model, loop.streams.val, loop.learner.method, loop.fabric)


def test_data_that_changed_since_is_refused(tmp_path: Path) -> None:
    """Rows that were trained on would otherwise be measured as test."""
    (tmp_path / "data").mkdir()
    source = write_dataset(tmp_path / "data")
    run = train(tiny({"data": {"source": str(source)}}, steps(2)), out=tmp_path / "run")
    assert evaluate(run, "test").rows == 2
    assert load(run, which="last").step == 2
    moved = {"labelled": "test", "test": "labelled"}
    lines = [{**line, "split": moved.get(line["split"], line["split"])} for line in usual_lines()]
    write_manifest(tmp_path / "data", lines)
    with pytest.raises(RunError, match="changed since"):
        evaluate(run, "test")
    with pytest.raises(RunError, match="changed since"):
        train(out=run.folder, resume=True)


def test_a_resumed_run_keeps_its_provenance(tmp_path: Path) -> None:
    run = train(tiny(steps(2)), out=tmp_path / "run")
    before = json.loads((run.folder / "provenance.json").read_text())
    train(out=run.folder, resume=True)
    after = json.loads((run.folder / "provenance.json").read_text())
    assert [len(p["resumed"]) for p in (before, after)] == [0, 1]
    assert {**after, "resumed": []} == before


def test_a_run_killed_before_its_provenance_was_written_begins_anew(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create(tiny(steps(2)), overwrite=False)
    folder.unlock()
    run = train(out=folder.path, resume=True)
    assert json.loads((run.folder / "provenance.json").read_text())["resumed"] == []


def test_what_was_trained_does_not_go_on_without_its_provenance(tmp_path: Path) -> None:
    run = train(tiny(steps(2)), out=tmp_path / "run")
    (run.folder / "provenance.json").unlink()
    with pytest.raises(RunError, match=r"provenance\.json: cannot be read"):
        train(out=run.folder, resume=True)
