"""Whole runs: what decides them, what they never see, and what they leave behind."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tiny import (
    TINY,
    cache_folder,
    newest,
    records,
    same,
    tensors_of,
    tiny,
    usual_lines,
    write_dataset,
)
from torch import Tensor

from pseudolabel_kit.engine import run as run_module
from pseudolabel_kit.engine.evaluate import evaluate
from pseudolabel_kit.engine.run import configure, default_folder, train
from pseudolabel_kit.errors import ConfigError, DataError, RunError
from pseudolabel_kit.plugin.hooks import hookimpl
from pseudolabel_kit.report.records import read_evaluations

FAST = {"train": {"steps": 4}, "method": {"explainer": "none"}}


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing a page takes longer than these runs; it has tests of its own."""
    monkeypatch.setattr(run_module, "write_report", lambda path: path)


def learnt(out: Path, *layers: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors that a run ends with."""
    train(tiny(FAST, *layers), out=out)
    return tensors_of(out)


# ── what decides a run ──────────────────────────────────────────────────────────────


def test_the_same_seed_gives_the_same_weights_and_another_others(tmp_path: Path) -> None:
    first = learnt(tmp_path / "first")
    assert same(first, learnt(tmp_path / "again"))
    other = learnt(tmp_path / "other", {"train": {"seed": 1}})
    assert not same(first, other)
    assert records(tmp_path / "first") == records(tmp_path / "again")


@pytest.mark.parametrize(
    "harmless",
    [
        {"evaluate": {"every": "1steps"}},
        {"evaluate": {"bootstrap": 0, "select": "accuracy"}},
        {"train": {"checkpoint_every": 1}},
        {"audit": {"rows": 1}},
    ],
)
def test_looking_on_changes_nothing(harmless: Mapping[str, Any], tmp_path: Path) -> None:
    assert same(learnt(tmp_path / "plain"), learnt(tmp_path / "watched", harmless))


def test_a_run_is_repeated_by_its_configuration_file(tmp_path: Path) -> None:
    first = learnt(tmp_path / "first")
    train(tmp_path / "first" / "run.toml", out=tmp_path / "again")
    assert same(first, tensors_of(tmp_path / "again"))


def test_tables_are_laid_over_the_default_recipe(tmp_path: Path) -> None:
    layer = {"data": {"cache": cache_folder()}, "train": {"steps": 1}}
    run = train({**TINY, **layer, "evaluate": TINY["evaluate"]}, out=tmp_path / "run")
    assert run.config == configure({**TINY, **layer})
    assert (run.steps, run.interrupted, run.folder) == (1, None, tmp_path / "run")


def test_a_run_without_a_place_gets_one_by_time_and_fuser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = train(tiny(FAST, {"train": {"steps": 1}}))
    assert run.folder.parent == Path("runs")
    assert run.folder.name.endswith("-sharpen")
    captum = tiny({"method": {"fuser": "some/sharpen:norm=pixel"}})
    assert default_folder(captum).name.endswith("-some-sharpen")


def test_a_finished_run_that_is_resumed_stays_as_it_is(tmp_path: Path) -> None:
    first = learnt(tmp_path / "run")
    log = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    train(out=tmp_path / "run", resume=True)
    assert same(first, tensors_of(tmp_path / "run"))
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == log


def test_resuming_needs_a_place() -> None:
    with pytest.raises(RunError, match="expected --resume RUN"):
        train(resume=True)


def test_the_ema_teacher_needs_an_average(tmp_path: Path) -> None:
    layer = {"method": {"teacher": "ema"}, "train": {"ema": 0.0}}
    with pytest.raises(ConfigError, match=r"expected train\.ema above 0"):
        learnt(tmp_path / "run", layer)
    assert not (tmp_path / "run").exists()


def test_each_teacher_teaches_something_else(tmp_path: Path) -> None:
    own = learnt(tmp_path / "self")
    ema = learnt(tmp_path / "ema", {"method": {"teacher": "ema"}})
    assert not same(own, ema)


def test_without_an_average_the_model_itself_is_measured(tmp_path: Path) -> None:
    found = learnt(tmp_path / "run", {"train": {"ema": 0.0}})
    assert not any(name.startswith("average") for name in found)
    assert evaluate(tmp_path / "run", "val").rows == 6


# ── what a run leaves behind ────────────────────────────────────────────────────────


def test_where_a_run_comes_from_is_written_down(tmp_path: Path) -> None:
    learnt(tmp_path / "run")
    found = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert found["rows"] == {"labelled": 3, "unlabelled": 30, "val": 6, "test": 12}
    assert found["patients"] == found["rows"]
    assert (found["seed"], found["processes"]) == (0, 1)
    assert {"torch", "captum", "python", "pseudolabel-kit"} <= found["versions"].keys()
    assert len(found["task"]["classes"]) == 3
    assert len(found["split_hash"]) == 16


def test_an_evaluation_is_written_and_read_back(tmp_path: Path) -> None:
    learnt(tmp_path / "run")
    test = evaluate(tmp_path / "run", "test", which="last")
    again, val = read_evaluations(tmp_path / "run")
    assert (val.split, val.rows, val.patients) == ("val", 6, 6)
    assert (test.split, test.rows, test.step) == ("test", 12, 4)
    assert asdict(again)["measures"] == test.measures
    for name, (low, high) in test.intervals.items():
        value = test.measures[name]
        assert value is not None
        assert low <= high


def test_the_best_weights_on_val_are_those_of_the_best_epoch(tmp_path: Path) -> None:
    layer = {"evaluate": {"every": "1steps", "select": "auc"}, "optimiser": {"lr": 0.01}}
    learnt(tmp_path / "run", layer)
    scores = [record["measures"]["auc"] for record in records(tmp_path / "run", "epoch")]
    found = evaluate(tmp_path / "run", "val")
    assert found.measures["auc"] == pytest.approx(max(scores))
    assert found.step == 1 + scores.index(max(scores))


def test_a_split_without_rows_is_refused(tmp_path: Path) -> None:
    lines = [line for line in usual_lines() if line["split"] != "test"]
    write_dataset(tmp_path / "data", lines)
    learnt(tmp_path / "run", {"data": {"source": str(tmp_path / "data")}})
    with pytest.raises(DataError, match="the split 'test' holds no rows to measure"):
        evaluate(tmp_path / "run", "test")


def test_a_run_without_val_rows_ends_with_its_last_weights(tmp_path: Path) -> None:
    lines = [line for line in usual_lines() if line["split"] != "val"]
    write_dataset(tmp_path / "data", lines)
    learnt(tmp_path / "run", {"data": {"source": str(tmp_path / "data")}})
    assert evaluate(tmp_path / "run", "test").step == 4
    assert not (tmp_path / "run" / "evaluation-val.json").exists()


# ── observers ───────────────────────────────────────────────────────────────────────


class Told:
    def __init__(self) -> None:
        self.calls: list[str] = []

    @hookimpl
    def plk_run_started(self) -> None:
        self.calls.append("started")

    @hookimpl
    def plk_pseudo_labelled(self, step: int) -> None:
        self.calls.append(f"labelled {step}")

    @hookimpl
    def plk_epoch_ended(self, epoch: int, measures: Mapping[str, float | None]) -> None:
        self.calls.append(f"epoch {epoch}")
        assert "dice" in measures

    @hookimpl
    def plk_run_ended(self, outcome: str) -> None:
        self.calls.append(outcome)


class Raising:
    @hookimpl
    def plk_run_started(self) -> None:
        raise OSError("mine")

    @hookimpl
    def plk_run_ended(self) -> None:
        raise OSError("mine again")


def test_observers_are_told_from_the_start_to_the_end(tmp_path: Path) -> None:
    told = Told()
    train(tiny(FAST), out=tmp_path / "run", observers=(told,))
    assert told.calls[0] == "started"
    assert told.calls[-1] == "finished"
    assert {"labelled 3", "labelled 4", "epoch 1"} <= set(told.calls)


def test_a_run_outlives_its_observers(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        train(tiny(FAST), out=tmp_path / "run", observers=(Raising(),))
    assert newest(tmp_path / "run").name == "step-00000004.safetensors"
    assert sum("switched off" in str(warning.message) for warning in heard) == 2


def test_a_run_that_fails_says_so_to_its_observers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RunError("no space left")

    told = Told()
    monkeypatch.setattr("pseudolabel_kit.engine.loop.Loop.train", fail)
    with pytest.raises(RunError, match="no space"):
        train(tiny(FAST), out=tmp_path / "run", observers=(told,))
    assert told.calls == ["started", "failed"]
