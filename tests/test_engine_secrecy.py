"""What a run must never see, and what it must never tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_support import write_manifest
from PIL import Image
from tiny import (
    SUPERVISED,
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
from pseudolabel_kit.engine.run import train

FAST = {"train": {"steps": 4}, "method": {"explainer": "none"}}


@pytest.fixture(autouse=True)
def no_report(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing a page takes longer than these runs; it has tests of its own."""
    if request.function is not test_no_output_of_a_run_names_a_patient:
        monkeypatch.setattr(run_module, "write_report", lambda path: path)


def learnt(out: Path, *layers: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors that a run ends with."""
    train(tiny(FAST, *layers), out=out)
    return tensors_of(out)


def relabelled(folder: Path, sides: tuple[str, ...]) -> None:
    """Another truth on these sides: labels swapped, masks inverted."""
    lines = usual_lines()
    for line in lines:
        if line["split"] in sides:
            line["label"] = {"ill": "sound", "sound": "ill"}[line["label"]]
            mask = np.asarray(Image.open(folder / line["mask"]))
            Image.fromarray(255 - mask).save(folder / line["mask"])
    write_manifest(folder, lines)


@pytest.mark.parametrize("method", [{}, SUPERVISED, {"method": {"explainer": "caam:start=0%"}}])
def test_the_truth_of_rows_that_are_not_labelled_changes_no_weight(
    method: Mapping[str, Any], tmp_path: Path
) -> None:
    write_dataset(tmp_path / "data")
    data = {"data": {"source": str(tmp_path / "data")}}
    before = learnt(tmp_path / "before", data, method)
    audited = records(tmp_path / "before", "audit")
    relabelled(tmp_path / "data", ("unlabelled", "val", "test"))
    assert same(before, learnt(tmp_path / "after", data, method))
    changed = records(tmp_path / "before", "epoch") != records(tmp_path / "after", "epoch")
    assert changed  # the measures did see it
    if method is not SUPERVISED:
        assert audited != records(tmp_path / "after", "audit")


def test_the_truth_of_labelled_rows_does(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data")
    data = {"data": {"source": str(tmp_path / "data")}}
    before = learnt(tmp_path / "before", data)
    relabelled(tmp_path / "data", ("labelled",))
    assert not same(before, learnt(tmp_path / "after", data))


def test_weak_labels_are_the_one_exception(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data")
    data = {"data": {"source": str(tmp_path / "data"), "weak_labels": True}}
    before = learnt(tmp_path / "before", data)
    relabelled(tmp_path / "data", ("val", "test"))
    assert same(before, learnt(tmp_path / "val", data))
    relabelled(tmp_path / "data", ("unlabelled",))
    assert not same(before, learnt(tmp_path / "weak", data))


def test_no_output_of_a_run_names_a_patient(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data")
    source = {"data": {"source": str(tmp_path / "data")}, "evaluate": {"figures": 2}}
    train(tiny(source), out=tmp_path / "run")
    evaluate(tmp_path / "run", "test")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"report.html", "strips.npz", "evaluation-test.json"} <= {path.name for path in files}
    for path in files:
        assert b"IDENTITY" not in path.read_bytes(), path
    with np.load(tmp_path / "run" / "strips.npz", allow_pickle=False) as strips:
        assert "IDENTITY" not in str({name: strips[name].tolist() for name in strips.files})
