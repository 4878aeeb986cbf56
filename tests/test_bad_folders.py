"""A run folder that is not there, spoilt, in use or not to be written: one line, nothing lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import refused, tiny, toml_of, training, write_dataset

from pseudolabel_kit.engine.folder import RunFolder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A sound dataset of twelve images."""
    write_dataset(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps, without its report."""
    from pseudolabel_kit.engine import run as run_module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "write_report", lambda path: path)
        out = tmp_path_factory.mktemp("finished") / "run"
        run_module.train(tiny({"train": {"steps": 2}}), out=out)
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def snapshot(folder: Path) -> dict[str, Any]:
    return {
        str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file() and p.name != ".lock"
    }


@pytest.mark.parametrize(
    "command", [["train", "--resume"], ["evaluate"], ["evaluate", "--split", "test"]]
)
def test_a_folder_without_a_run_is_refused(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        told = refused([*command, str(folder)], capsys)
        assert told == f"{folder}: not a run: there is no run.toml in it"
    assert not list(tmp_path.iterdir())


def test_a_run_is_not_overwritten_unasked(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(run)
    toml = toml_of(tiny(), tmp_path / "tiny.toml")
    told = refused(["train", toml, "--out", str(run)], capsys)
    assert told.startswith(f"{run}: already holds a run; continue it with --resume {run}, ")
    assert snapshot(run) == before


def test_a_run_that_is_overwritten_with_bad_data_is_not_lost(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "images" / "06.png").unlink()
    before = snapshot(run)
    line = training(data, toml_of(tiny(), tmp_path / "tiny.toml"), run)
    assert "row 8" in refused([*line, "--overwrite"], capsys)
    assert snapshot(run) == before


@pytest.mark.parametrize("parent", ["/proc", "a file"])
def test_a_place_that_cannot_be_written_is_named(
    parent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    out = Path("/proc/run") if parent == "/proc" else tmp_path / "file" / "run"
    toml = toml_of(tiny(), tmp_path / "tiny.toml")
    told = refused(["train", toml, "--out", str(out)], capsys)
    assert told.startswith(f"{out}: cannot be written: ")


def test_a_run_that_somebody_trains_is_left_alone(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = RunFolder(run)
    training.reopen()
    told = refused(["train", "--resume", str(run)], capsys)
    assert told == f"{run}: another process is training into it"


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        ("[train]\nsteps = 'x'", "train.steps = 'x'"),
        ("[train]\nstepps = 1", "did you mean 'train.steps'?"),
        ("[train", "not TOML"),
    ],
)
def test_a_spoilt_configuration_of_a_run_is_named(
    spoil: str, complaint: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "run.toml").write_text(spoil)
    for command in (["train", "--resume"], ["evaluate"]):
        told = refused([*command, str(run)], capsys)
        assert told.startswith(f"{run}/run.toml: ")
        assert complaint in told


def test_damaged_weights_are_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = run / "checkpoints" / "best.safetensors"
    best.write_bytes(best.read_bytes()[:-50])
    assert refused(["evaluate", str(run)], capsys).startswith(f"{best}: damaged checkpoint")


@pytest.mark.parametrize("content", ["{}", "{", json.dumps({"task": {"channels": "x"}}), None])
def test_a_run_without_its_provenance_is_named(
    content: str | None, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "provenance.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    told = refused(["evaluate", str(run)], capsys)
    assert told.startswith(f"{path}: cannot be read; expected the file that plk train wrote")


def test_a_split_that_does_not_exist_is_named(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(["evaluate", str(run), "--split", "tset"], capsys)
    assert "'tset' is not one of 'labelled', 'unlabelled', 'val', 'test'" in told


def test_data_that_are_gone_when_a_run_is_measured_are_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pseudolabel_kit.engine import run as run_module

    monkeypatch.setattr(run_module, "write_report", lambda path: path)
    source = {"data": {"source": str(data)}, "train": {"steps": 1}}
    run_module.train(tiny(source), out=tmp_path / "run")
    shutil.rmtree(data)
    told = refused(["evaluate", str(tmp_path / "run")], capsys)
    assert told.startswith(str(data))
