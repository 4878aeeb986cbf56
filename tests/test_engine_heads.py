"""Models with one head: the other task's figures are missing, and nothing else is."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import records, refused, tiny, toml_of

from pseudolabel_kit.cli.main import call
from pseudolabel_kit.engine.cost import Cost
from pseudolabel_kit.engine.evaluate import evaluate
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.engine.scores import Columns, scores

MASKS = ("dice", "dice_image", "dice_patient", "miou", "false_positive_share")
CLASSES = ("accuracy", "sensitivity", "specificity", "auc")
SEGMENTS: Mapping[str, Any] = {
    "backbone": "unet:width=0.0625",
    "explainer": "none",
    "fuser": "fixmatch:threshold=0.5",
}
CLASSIFIES: Mapping[str, Any] = {
    "backbone": "resnet18",
    "explainer": "none",
    "fuser": "pseudo-label:targets=class",
}


@pytest.fixture(scope="module", params=[SEGMENTS, CLASSIFIES], ids=["segments", "classifies"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads") / "run"
    train(tiny({"method": request.param, "evaluate": {"figures": 2}}), out=folder)
    return folder


def segments(run: Path) -> bool:
    return "unet" in (run / "run.toml").read_text(encoding="utf-8")


def test_only_its_own_measures_are_known(run: Path) -> None:
    found = evaluate(run, "test")
    here, missing = (MASKS, CLASSES) if segments(run) else (CLASSES, MASKS)
    assert [name for name in here if found.measures[name] is None] == []
    assert [name for name in missing if found.measures[name] is not None] == []
    assert set(missing).isdisjoint(found.intervals)


def test_only_its_own_terms_are_logged_and_none_is_zero(run: Path) -> None:
    own = "mask" if segments(run) else "label"
    supervised = "segmentation" if segments(run) else "classification"
    last = records(run, "step")[-1]
    assert set(last["losses"]) == {supervised, f"consistency.{own}"}
    assert (last["mean_label"] is None) is not segments(run)
    assert 0 < last["coverage"] <= 1
    assert not [r for r in records(run, "event") if "trains nothing" in r["text"]]


def test_the_best_weights_are_kept_by_a_measure_that_there_is(run: Path) -> None:
    assert (run / "checkpoints" / "best.safetensors").exists()


def test_the_audit_judges_what_is_taught(run: Path) -> None:
    record = [r for r in records(run, "audit") if r["when"] == "epoch"][-1]["record"]
    judged = "label_dice" if segments(run) else "label_accuracy"
    assert record[judged] is not None
    assert record["images"] == 4


def test_predictions_hold_what_the_model_says_and_no_more(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan, out = tmp_path / "scan.png", tmp_path / "out"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32), dtype=np.uint8)).save(scan)
    assert call(["predict", str(run), str(scan), "--out", str(out)]) == 0
    with (out / "classes.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["predicted"] == "") is segments(run)
    assert (out / "masks").exists() is segments(run)
    assert "scan" in capsys.readouterr().out


def test_the_rows_behind_the_measures_give_the_measures_again(run: Path) -> None:
    told = json.loads((run / "evaluation-val.json").read_text(encoding="utf-8"))["measures"]
    with np.load(run / "evaluation-val.npz", allow_pickle=False) as arrays:
        table = Columns(**{name: arrays[name] for name in arrays.files})
    again = scores(table, np.ones((1, len(table.is_patient))))
    for name, value in told.items():
        assert (None if np.isnan(again[name][0]) else again[name][0]) == value, name


def test_the_run_says_what_it_cost(run: Path) -> None:
    cost = Cost(**json.loads((run / "cost.json").read_text(encoding="utf-8")))
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [r for r in map(json.loads, lines) if r["kind"] == "step"]
    assert cost.images == sum(sum(r["rows"].values()) for r in steps) == 6 * 2 + 4 * 2
    assert cost.seconds == pytest.approx(sum(r["seconds"] for r in steps))
    assert cost.images_per_second == pytest.approx(cost.images / cost.seconds)
    assert cost.peak_memory is not None
    assert cost.peak_memory > 10e6
    assert cost.parameters > 1000


def test_the_report_is_written(run: Path) -> None:
    assert "<svg" in (run / "report.html").read_text(encoding="utf-8")


def test_a_part_that_needs_the_other_head_is_told_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = toml_of(tiny({"method": {**CLASSIFIES, "fuser": "fixmatch"}}), tmp_path / "a.toml")
    told = refused(["train", toml, "--out", str(tmp_path / "run")], capsys)
    assert "FixMatch: this backbone does not segment" in told
    toml = toml_of(tiny({"method": {**SEGMENTS, "explainer": "ig"}}), tmp_path / "b.toml")
    told = refused(["train", toml, "--out", str(tmp_path / "run")], capsys)
    assert "this backbone does not classify" in told
    assert not (tmp_path / "run").exists()
