"""Trackers and the run: refused early, warned of once, and without a trace in what is learnt."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

import pytest
from conftest import Site
from tiny import refused, same, tensors_of, tiny, toml_of
from tracking_support import killed, tracked

from pseudolabel_kit import train

ALL = "tensorboard,mlflow,wandb"

PLANTED = """
from dataclasses import dataclass
from pseudolabel_kit.plugin import Tracker, hookimpl

class Observer:
    def __init__(self, folder):
        self.told = folder.parent / "told"

    @hookimpl
    def plk_step_ended(self, step):
        with self.told.open("a") as file:
            file.write(f"{step} ")
        if step == 3:
            raise OSError("no space left")

    @hookimpl
    def plk_epoch_ended(self):
        raise OSError("still none")

    @hookimpl
    def plk_run_ended(self, outcome):
        with self.told.open("a") as file:
            file.write(outcome)

@dataclass(frozen=True, kw_only=True)
class Planted(Tracker):
    soon: bool = False
    blind: bool = False

    def observe(self, run):
        if self.soon:
            raise KeyError("token")
        return object() if self.blind else Observer(run.folder)
"""
OFFER = "'tracker', 'planted', 'heavy_planted:Planted', 'Fails at step 3.'"


def refusal(tracker: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The line that a run is refused with; nothing may have been written."""
    toml = toml_of(tiny({"train": {"tracker": tracker}}), folder / "tiny.toml")
    told = refused(["train", toml, "--out", str(folder / "run")], capsys)
    assert not (folder / "run").exists()
    return told


def test_a_tracker_changes_nothing_that_is_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tracked(tmp_path / "alone", "none")
    tracked(tmp_path / "told", ALL)
    assert same(tensors_of(tmp_path / "alone"), tensors_of(tmp_path / "told"))
    assert (tmp_path / "told" / "tensorboard").is_dir()
    assert (tmp_path / "told" / "wandb").is_dir()
    assert (tmp_path / "mlruns").is_dir()


def test_a_misspelt_tracker_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refusal("tensorbord", tmp_path, capsys)
    assert told == "there is no tracker 'tensorbord' (did you mean 'tensorboard'?)"
    assert "did you mean 'folder'?" in refusal("mlflow:foldr=x", tmp_path, capsys)


@pytest.mark.parametrize(
    ("tracker", "library"),
    [
        ("tensorboard", "torch.utils.tensorboard"),
        ("mlflow", "mlflow"),
        ("wandb", "wandb"),
    ],
)
def test_a_library_that_is_absent_is_named_with_its_extra(
    tracker: str,
    library: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delitem(sys.modules, f"plk_tracking.{tracker}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    assert refusal(tracker, tmp_path, capsys) == (
        f"tracker '{tracker}' of plugin 'tracking' cannot be imported: "
        f"install it: pip install 'pseudolabel-kit[{tracker}]'"
    )


def test_a_tracker_that_fails_is_warned_of_once_and_the_run_goes_on(
    tmp_path: Path, site: Site
) -> None:
    site.offer("planted", OFFER, heavy_planted=PLANTED)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        tracked(tmp_path / "run", "planted")
    told = [str(each.message) for each in heard if "switched off" in str(each.message)]
    assert told == [
        "hook plk_step_ended of tracker 'planted' of plugin 'planted' is switched off, "
        "it raised OSError: no space left"
    ]
    assert (tmp_path / "told").read_text() == "1 2 3 finished"
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_tracker_is_told_of_a_run_that_goes_on(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = PLANTED.replace("step == 3", "False").replace('raise OSError("still none")', "pass")
    site.offer("planted", OFFER, heavy_planted=sound)
    killed(tmp_path / "run", "planted", monkeypatch)
    train(out=tmp_path / "run", resume=True)
    assert (tmp_path / "told").read_text() == "1 2 3 4 5 failed5 6 finished"


def test_one_that_cannot_begin_is_refused(
    tmp_path: Path, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.offer("planted", OFFER, heavy_planted=PLANTED)
    who, place = "of plugin 'planted': observe", rf"\({site.folder}/heavy_planted\.py:\d+\)"
    told = refusal("planted:soon=true", tmp_path, capsys)
    assert re.fullmatch(f"tracker 'planted:soon=true' {who} raised KeyError: 'token' {place}", told)
    told = refusal("planted:blind=true", tmp_path, capsys)
    gave = "gave a object: it implements no hook of pseudolabel_kit"
    assert told == f"tracker 'planted:blind=true' {who} {gave}"
