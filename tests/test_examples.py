from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from tiny import PHANTOM

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_seeds_compares_methods_and_does_not_train_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [
        "train.steps=2",
        "method.backbone=vgg-multiscale:width=0.0625",
        "evaluate.figures=0",
    ]
    words = [str(tmp_path / "runs"), "--seeds", "2", "--data", PHANTOM, "--only", "supervised"]
    words += [word for text in settings for word in ("--set", text)]
    monkeypatch.setattr(sys, "argv", ["seeds.py", *words])
    runpy.run_path(str(EXAMPLES / "seeds.py"), run_name="__main__")
    first = capsys.readouterr().out
    assert "supervised" in first
    assert first.count("±") >= 6
    reports = sorted(tmp_path.glob("runs/*/report.html"))
    assert len(reports) == 2
    written = [report.stat().st_mtime_ns for report in reports]
    runpy.run_path(str(EXAMPLES / "seeds.py"), run_name="__main__")
    assert [report.stat().st_mtime_ns for report in reports] == written
    assert capsys.readouterr().out == first
