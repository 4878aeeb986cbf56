"""A checkpoint that a part no longer fits: the part, what differs, and what to do."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import failing_parts
import pytest
import torch
from conftest import Site
from failing_parts import METHOD, Planting, install, stopped
from tiny import assembled, same
from torch import Tensor, nn

from pseudolabel_kit.cli.main import call
from pseudolabel_kit.engine.loop import Loop
from pseudolabel_kit.engine.tensors import gathered, put_back
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.interfaces import Task

FUSER = "learner.states.fuser"


@pytest.fixture(autouse=True)
def parts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, monkeypatch)


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return assembled(tmp_path / "run", METHOD, {"method": {"teacher": "frozen"}})


def refusal(loop: Loop, tensors: dict[str, Tensor]) -> str:
    with pytest.raises(RunError) as error:
        put_back(loop, tensors)
    return str(error.value)


def test_what_was_gathered_is_put_back(loop: Loop, tmp_path: Path) -> None:
    tensors = {name: tensor.clone() for name, tensor in gathered(loop).items()}
    other = assembled(tmp_path / "other", METHOD, {"method": {"teacher": "frozen"}})
    with torch.no_grad():
        for tensor in gathered(other).values():
            tensor.add_(1)
    put_back(other, tensors)
    assert same(gathered(other), tensors)
    assert {name.partition(".")[0] for name in tensors} == {"learner", "average", "frozen"}


def test_the_part_what_differs_and_the_way_on_are_told(loop: Loop) -> None:
    tensors = gathered(loop)
    tensors[f"{FUSER}.average"] = tensors.pop(f"{FUSER}.mean")
    tensors[f"{FUSER}.seen"] = torch.zeros(2, 3)
    run = loop.folder.path
    assert refusal(loop, tensors) == (
        f"{run}: the checkpoint does not fit fuser 'failing' of plugin 'worse': it lacks 'mean'; "
        "it holds 'average', which the part keeps no longer; 'seen' is (2, 3), expected (); "
        "go back to the version that wrote it, or train anew: "
        f"plk train {run}/run.toml --out {run} --overwrite"
    )


def test_of_many_names_a_few_are_told(loop: Loop) -> None:
    tensors = gathered(loop) | {f"{FUSER}.x{number}": torch.zeros(1) for number in range(5)}
    assert "it holds 'x0', 'x1', 'x2' and 2 more, which" in refusal(loop, tensors)


@pytest.mark.parametrize(
    ("place", "part"),
    [
        ("model", "backbone"),
        ("states.explainer 0", "explainer"),
        ("states.perturbation 0", "perturbation"),  # which keeps nothing now
    ],
)
def test_whose_tensors_they_are_is_told(place: str, part: str, loop: Loop) -> None:
    tensors = gathered(loop) | {f"learner.{place}.more": torch.zeros(1)}
    told = refusal(loop, tensors)
    assert f"does not fit {part} 'failing' of plugin 'worse': it holds 'more', which" in told


def test_a_part_that_keeps_a_state_only_now_is_told(loop: Loop) -> None:
    lost = {k: v for k, v in gathered(loop).items() if not k.startswith("learner.states.expl")}
    assert "does not fit explainer 'failing' of plugin 'worse': it lacks 'drawn'" in refusal(
        loop, lost
    )


def test_a_module_may_read_what_an_earlier_version_kept(loop: Loop) -> None:
    def rename(module: nn.Module, tensors: dict[str, Any], prefix: str, *_: object) -> None:
        tensors[f"{prefix}mean"] = tensors.pop(f"{prefix}average")

    loop.learner.states["fuser"].register_load_state_dict_pre_hook(rename)
    tensors = gathered(loop)
    del tensors[f"{FUSER}.mean"]
    put_back(loop, tensors | {f"{FUSER}.average": torch.tensor(0.25)})
    assert loop.learner.states["fuser"].get_buffer("mean") == 0.25


def test_a_module_that_fails_to_read_is_told(loop: Loop) -> None:
    def refuse(*given: object) -> None:
        raise KeyError("mine")

    loop.learner.states["fuser"].register_load_state_dict_pre_hook(refuse)
    assert "fuser 'failing' of plugin 'worse': KeyError: 'mine'; go" in refusal(
        loop, gathered(loop)
    )


def test_a_person_sees_one_line_whose_way_on_can_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, before = tmp_path / "a run", failing_parts.Drawing.make_state
    stopped(run, Planting(fuse=[4]))

    def grown(self: failing_parts.Drawing, task: Task) -> nn.Module:
        state = before(self, task)
        state.register_buffer("new", torch.zeros(1))
        return state

    monkeypatch.setattr(failing_parts.Drawing, "make_state", grown)
    capsys.readouterr()
    assert call(["train", "--resume", str(run)]) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert "explainer 'failing' of plugin 'worse': it lacks 'new'; go back" in told
    assert call(shlex.split(told.rpartition("anew: ")[2])[1:]) == 0
