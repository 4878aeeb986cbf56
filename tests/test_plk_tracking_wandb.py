from __future__ import annotations

import getpass
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from tiny import records, refused, steps, tiny, toml_of
from tracking_support import StopAt, killed, tracked, wandb_records

from pseudolabel_kit import train


@pytest.fixture(autouse=True)
def own_process() -> Iterator[None]:
    """W&B's process ends with each test, not with all."""
    yield
    wandb.teardown()


def files(run: Path) -> list[Path]:
    """What is on disk once W&B's process has written all that it was told."""
    wandb.teardown()
    return sorted(run.glob("wandb/offline-run-*/run-*.wandb"))


def history(path: Path) -> list[dict[str, Any]]:
    """What was logged, without W&B's own clocks and counts."""
    lines = [r.history for r in wandb_records(path) if r.WhichOneof("record_type") == "history"]
    found = [
        {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in each.item}
        for each in lines
    ]
    return [{k: v for k, v in each.items() if not k.startswith("_")} for each in found]


def only(path: Path, kind: str) -> Any:
    """The last record of a kind."""
    return [getattr(r, kind) for r in wandb_records(path) if r.WhichOneof("record_type") == kind][
        -1
    ]


def test_the_log_and_the_history_are_one(tmp_path: Path) -> None:
    run = tmp_path / "run"
    tracked(run, "wandb")
    (path,) = files(run)
    logged = {r["step"]: r for r in records(run, "step")}
    told = [row for row in history(path) if "loss/segmentation" in row]
    assert [row["step"] for row in told] == list(logged)
    for row in told:
        for name, value in logged[row["step"]]["losses"].items():
            assert row[f"loss/{name}"] == pytest.approx(value)
    measured = {row["step"]: row["val/auc"] for row in history(path) if "epoch" in row}
    assert measured == {r["step"]: r["measures"]["auc"] for r in records(run, "epoch")}
    said = [row["event/info"] for row in history(path) if "event/info" in row]
    assert said == [r["text"] for r in records(run, "event") if r["level"] == "info"]
    assert only(path, "exit").exit_code == 0


def test_the_configuration_is_its_config(tmp_path: Path) -> None:
    run = tmp_path / "run"
    tracked(run, "wandb:project=lungs:entity=us", steps(1))
    record = only(files(run)[0], "run")
    config = {each.key: json.loads(each.value_json) for each in record.config.update}
    assert (config["train.steps"], config["method.fuser"]) == (1, "sharpen")
    assert (record.project, record.entity) == ("lungs", "us")
    assert record.display_name == f"{tmp_path.name}/run"


def test_it_is_told_nothing_of_this_machine(tmp_path: Path) -> None:
    run = tmp_path / "run"
    tracked(run, "wandb", steps(1))
    (path,) = files(run)
    record = only(path, "run")
    assert (record.host, record.git.remote_url, record.git.commit) == ("", "", "")
    kept = path.read_bytes()
    for word in (str(tmp_path.parent), str(Path.home()), str(Path.cwd()), sys.executable):
        assert word.encode() not in kept
    for word in (socket.gethostname(), getpass.getuser()):
        assert f'"{word}'.encode() not in kept
    beside = {each.name for each in path.parent.rglob("*") if each.is_file()}
    assert beside - {"debug.log", "debug-internal.log", "debug-core.log"} == {path.name}


def test_a_run_that_goes_on_keeps_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    killed(run, "wandb", monkeypatch)
    (first,) = files(run)
    assert only(first, "exit").exit_code == 1
    train(out=run, resume=True)
    second = files(run)[-1]
    assert second.name == first.name
    assert second != first
    told = [row["step"] for row in history(second) if "loss/segmentation" in row]
    assert told == [5, 6]


def test_a_run_that_a_person_stops_says_so(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        tracked(tmp_path / "run", "wandb", observers=(StopAt(2),))
    assert only(files(tmp_path / "run")[0], "exit").exit_code == 130


def test_online_needs_a_login_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    toml = toml_of(tiny({"train": {"tracker": "wandb:mode=online"}}), tmp_path / "a.toml")
    told = refused(["train", toml, "--out", str(tmp_path / "run")], capsys)
    assert told.startswith("tracker 'wandb:mode=online' of plugin 'tracking': mode=online: ")
    assert told.endswith("expected `wandb login` before, or mode=offline")
    assert not (tmp_path / "run").exists()


def test_it_is_silent_and_leaves_no_process() -> None:
    code = (
        "from pseudolabel_kit.testing.tracker import TrackerConformance\n"
        "TrackerConformance.reference = 'wandb'\n"
        "TrackerConformance().test_it_goes_on_with_a_run()"
    )
    line = [sys.executable, "-c", code]
    # W&B's process inherits the pipes: were it left, they would not close.
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
