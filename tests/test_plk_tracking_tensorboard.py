from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import records, steps
from tracking_support import killed, tracked

from pseudolabel_kit import train


def read(folder: Path) -> Any:
    return EventAccumulator(str(folder)).Reload()


def curve(found: Any, tag: str) -> dict[int, float]:
    """By step, each step once."""
    points = [(each.step, each.value) for each in found.Scalars(tag)]
    assert len(dict(points)) == len(points), points
    return dict(points)


def text(found: Any, tag: str) -> str:
    return "\n".join(e.tensor_proto.string_val[0].decode() for e in found.Tensors(tag))


def test_the_log_and_the_curves_are_one(tmp_path: Path) -> None:
    run = tmp_path / "run"
    tracked(run, "tensorboard")
    found = read(run / "tensorboard")
    for record in records(run, "step"):
        for name, value in record["losses"].items():
            told = curve(found, f"loss/{name}")[record["step"]]
            assert told == pytest.approx(value, rel=1e-6)
        if record["mean_label"] is not None:
            for name in ("mean_label", "coverage"):
                told = curve(found, f"pseudo/{name}")[record["step"]]
                assert told == pytest.approx(record[name], rel=1e-6)
    assert curve(found, "pseudo/foreground").keys() == {3, 4, 5, 6}
    for record in records(run, "epoch"):
        for name, value in record["measures"].items():
            if value is not None:
                told = curve(found, f"val/{name}")[record["step"]]
                assert told == pytest.approx(value, rel=1e-6)


def test_the_configuration_and_events_are_texts(tmp_path: Path) -> None:
    run = tmp_path / "run"
    tracked(run, "tensorboard")
    found = read(run / "tensorboard")
    shown = text(found, "configuration/text_summary")
    assert "| train.steps | `6` |" in shown
    assert "| method.fuser | `sharpen` |" in shown
    said = [r["text"] for r in records(run, "event") if r["level"] == "info"]
    assert text(found, "events/info/text_summary") == "\n".join(said)


def test_a_run_that_goes_on_goes_on_with_its_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    tracked(whole, "tensorboard")
    killed(halves, "tensorboard", monkeypatch)
    assert curve(read(halves / "tensorboard"), "loss/segmentation").keys() == {1, 2, 3, 4, 5}
    train(out=halves, resume=True)
    one, other = read(whole / "tensorboard"), read(halves / "tensorboard")
    assert one.Tags() == other.Tags()
    for tag in one.Tags()["scalars"]:
        assert curve(one, tag) == curve(other, tag)


def test_a_run_that_is_replaced_leaves_no_curve(tmp_path: Path) -> None:
    run = tmp_path / "run"
    tracked(run, "tensorboard")
    supervised = {"method": {"fuser": "none", "explainer": "none"}}
    tracked(run, "tensorboard", supervised, steps(3), overwrite=True)
    found = read(run / "tensorboard")
    assert curve(found, "loss/segmentation").keys() == {1, 2, 3}
    assert not any("pseudo" in tag for tag in found.Tags()["scalars"])


def test_runs_can_meet_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "curves"
    tracked(tmp_path / "runs" / "a", f"tensorboard:folder={folder}", steps(1))
    tracked(tmp_path / "runs" / "b", f"tensorboard:folder={folder}", steps(1))
    for name in ("a", "b"):
        assert curve(read(folder / "runs" / name), "loss/segmentation").keys() == {1}
        assert not (tmp_path / "runs" / name / "tensorboard").exists()
