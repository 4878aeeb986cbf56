"""A run that is struck down again and again ends as the one that never was."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_parts
from conftest import Site
from safetensors.torch import load_file
from tiny import newest, records, same, tensors_of, tiny, toml_of
from tiny_process import Blow, blows, plk
from torch import Tensor

from pseudolabel_kit.engine import checkpoint

LONG = {
    "method": {"fuser": "remembering", "explainer": "learning,input-x-gradient"},
    "train": {"steps": 60, "checkpoint_every": 3},
    "evaluate": {"every": "5steps"},
}


@pytest.fixture
def toml(site: Site, tmp_path: Path) -> str:
    """The configuration of a run whose parts keep states."""
    site.offer("tiny", *tiny_parts.COMPONENTS)
    return toml_of(tiny(LONG), tmp_path / "tiny.toml")


@pytest.mark.parametrize("kills", [9, pytest.param(20, marks=pytest.mark.long)])
def test_kills_at_every_place_leave_no_trace(toml: str, tmp_path: Path, kills: int) -> None:
    whole, run, log = tmp_path / "whole", tmp_path / "run", tmp_path / "log"
    assert plk(["train", toml, "--out", str(whole)], log).code == 0

    line = ["train", toml, "--out", str(run)]
    for blow in blows(kills, seed=0):
        done = plk(line, log, blow=blow)
        assert done.code == exit_code(blow.kind), (blow, done.text)
        line = ["train", "--resume", str(run)]
    assert plk(line, log).code == 0

    assert tensors_of(whole, "learner.states").keys() == {
        "fuser.mean",
        "fuser.seen",
        "explainer 0.weight",
        "explainer 0.bias",
    }
    assert same(tensors_of(whole), tensors_of(run))
    assert same(best(whole), best(run))
    assert records(whole) == records(run)
    assert evaluation(whole) == evaluation(run)
    assert files(whole) == files(run)


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_signal_is_answered_with_the_way_on(kind: signal.Signals, tmp_path: Path) -> None:
    toml, run = toml_of(tiny(), tmp_path / "tiny.toml"), tmp_path / "run"
    line = ["train", toml, "--out", str(run)]
    done = plk(line, tmp_path / "log", blow=Blow("step", 1, kind))
    assert done.code == 128 + kind
    assert done.text.splitlines()[-1] == f"stopped; go on with: plk train --resume {run}"
    assert newest(run).name == "step-00000001.safetensors"


# ── damaged and foreign checkpoints ─────────────────────────────────────────────────


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 6 steps that was stopped after the fifth, with checkpoints of 4 and 5."""
    base = tmp_path_factory.mktemp("stopped")
    line = ["train", toml_of(tiny(), base / "tiny.toml"), "--out"]
    assert plk([*line, str(base / "whole")], base / "log").code == 0
    blow = Blow("step", 5, signal.SIGTERM)
    assert plk([*line, str(base / "run")], base / "log", blow=blow).code == 143
    return base


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit_of_a_weight(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def flip_a_bit_of_the_header(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "damage", [truncate, flip_a_bit_of_a_weight, flip_a_bit_of_the_header, empty]
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(
    damage: Callable[[Path], None], stopped: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(stopped / "run", tmp_path / "run"))
    damaged = newest(run)
    damage(damaged)
    done = plk(["train", "--resume", str(run)], tmp_path / "log")
    assert done.code == 0
    assert f"{damaged}: damaged checkpoint" in done.text.replace("\n", "")
    assert same(tensors_of(stopped / "whole"), tensors_of(run))
    assert records(stopped / "whole", "step") == records(run, "step")


def test_with_every_checkpoint_damaged_the_run_is_refused(stopped: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(stopped / "run", tmp_path / "run"))
    for path in (run / "checkpoints").iterdir():
        truncate(path)
    before = (run / "metrics.jsonl").read_bytes()
    done = plk(["train", "--resume", str(run)], tmp_path / "log")
    assert done.code == 2
    assert "damaged checkpoint" in done.text
    assert (run / "metrics.jsonl").read_bytes() == before


def test_a_checkpoint_of_another_configuration_is_refused(stopped: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(stopped / "run", tmp_path / "run"))
    other = tiny({"optimiser": {"lr": 0.5}})
    (run / "run.toml").write_text(other.to_toml())
    done = plk(["train", "--resume", str(run)], tmp_path / "log")
    assert done.code == 2
    assert f"plk: {newest(run)}: this checkpoint belongs to another configuration" in done.text
    assert newest(run).name == "step-00000005.safetensors"


# ── helpers ─────────────────────────────────────────────────────────────────────────


def exit_code(kind: signal.Signals) -> int:
    return -kind if kind == signal.SIGKILL else 128 + kind


def best(run: Path) -> dict[str, Tensor]:
    return load_file(run / "checkpoints" / checkpoint.BEST)


def evaluation(run: Path) -> Any:
    return json.loads((run / "evaluation-val.json").read_text())


def files(run: Path) -> set[str]:
    return {str(path.relative_to(run)) for path in run.rglob("*")}
