"""A run that a part stops: what is said, what is kept, and that it goes on as if never stopped."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Site
from failing_parts import HARM, METHOD, Planting, boom, install, stopped
from tiny import assembled, records, refused, same, tensors_of, tiny, toml_of

from pseudolabel_kit.cli import training
from pseudolabel_kit.cli.main import call
from pseudolabel_kit.engine import run as run_module
from pseudolabel_kit.engine import undo
from pseudolabel_kit.engine.failure import StoppedError, resumable_step
from pseudolabel_kit.engine.finite import DivergedError
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.errors import ConfigError, RunError
from pseudolabel_kit.interfaces import PseudoLabels
from pseudolabel_kit.plugin.blame import FaultError


@pytest.fixture(autouse=True)
def parts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, monkeypatch)


def saved(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").glob("step-*"))


def nan(answer: PseudoLabels) -> PseudoLabels:
    assert answer.mask is not None
    return PseudoLabels(mask=answer.mask / 0, mask_weight=answer.mask_weight)


def test_the_message_says_who_what_where_when_and_how_to_go_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    told = stopped(run, Planting(fuse=[4]))
    place = Path(__file__).with_name("failing_parts.py")
    line = 1 + place.read_text().splitlines().index('    raise ValueError("boom\\nof two lines")')
    assert told == (
        "fuser 'failing' of plugin 'worse': fuse raised ValueError: boom of two lines "
        f"({place}:{line}), in step 5; traceback: {run / 'failure.txt'}; "
        f"once it is mended, `plk train --resume {run}` goes on from step 4"
    )
    traceback = (run / "failure.txt").read_text()
    assert "Traceback" in traceback
    assert "ValueError: boom\nof two lines" in traceback
    assert "in fuse\n" in traceback


def test_a_run_that_is_resumed_ends_as_one_that_never_failed(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    train(tiny(METHOD), out=whole)
    names = " ".join(tensors_of(whole, "learner"))
    assert all(moving in names for moving in ("running_mean", "states.fuser.mean", "0.drawn"))
    for method in ("fuse", "backbone_loss", "perturb", "forward"):
        run = tmp_path / method
        told = stopped(run, Planting(**{method: [4]}))
        assert ", in step 5; " in told
        assert saved(run)[-1] == "step-00000004.safetensors"
        train(out=run, resume=True)
        assert same(tensors_of(whole), tensors_of(run))
        assert records(whole) == records(run)
        assert not (run / "failure.txt").exists()


def test_a_refused_answer_stops_the_run_likewise(tmp_path: Path) -> None:
    told = stopped(tmp_path / "run", Planting(nan, fuse=[4]))
    assert told.startswith("fuser 'failing' of plugin 'worse': fuse gave mask with ")
    assert " NaN" in told
    assert "of 2048 values: expected values in [0, 1], in step 5; " in told


def test_a_failing_survey_loses_nothing(tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(tiny(METHOD), out=whole)
    told = stopped(run, Planting(survey=[2]))
    assert ", after step 2; " in told
    assert told.endswith("goes on from step 2")
    train(out=run, resume=True)
    assert same(tensors_of(whole), tensors_of(run))
    assert records(whole) == records(run)


def test_a_failing_calibration_loses_nothing(tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(tiny(METHOD), out=whole)
    told = stopped(run, Planting(calibrate=[2]))
    assert told.startswith("fuser 'failing' of plugin 'worse': calibrate raised ValueError: boom")
    assert ", after step 2; " in told
    assert told.endswith("goes on from step 2")
    train(out=run, resume=True)
    assert same(tensors_of(whole), tensors_of(run))
    assert records(whole) == records(run)


@pytest.mark.parametrize("method", ["explain", "forward"])
def test_what_fails_under_a_calibration_is_not_the_fuser_s_fault(
    method: str, tmp_path: Path
) -> None:
    loop = assembled(tmp_path / "run", METHOD)
    HARM[method] = boom
    with pytest.raises(FaultError, match=rf"worse': {method} raised ValueError: boom"):
        loop.calibrate(loop.streams.held)
    HARM.clear()
    next(loop.learner.model.parameters()).data.fill_(torch.nan)
    with pytest.raises(DivergedError):
        loop.calibrate(loop.streams.held)


def test_a_step_whose_large_memory_has_moved_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undo, "COPIED", 0)
    run = tmp_path / "run"
    told = stopped(run, Planting(fuse=[4]), {"train": {"checkpoint_every": 2}})
    assert ", in step 5, which had changed weights or a large memory, so that it cannot " in told
    assert told.endswith("goes on from step 4")
    whole = tmp_path / "whole"
    train(tiny(METHOD, {"train": {"checkpoint_every": 2}}), out=whole)
    train(out=run, resume=True)
    assert same(tensors_of(whole), tensors_of(run))


def test_l_u_that_waits_for_a_measure_begins_after_a_checkpoint(tmp_path: Path) -> None:
    layer = {"loss": {"consistency_start": "val.dice>=0.0"}}
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(tiny(METHOD, layer), out=whole)
    told = stopped(run, Planting(survey=[3]), layer)
    assert told.endswith("goes on from step 3")
    train(out=run, resume=True)
    assert same(tensors_of(whole), tensors_of(run))
    assert records(whole) == records(run)


def test_a_failing_audit_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    told = stopped(tmp_path / "run", Planting(diagnose=[5, 6]))
    assert "explainer 'failing' of plugin 'worse': diagnose raised ValueError" in told
    assert ", after step 6; " in told
    assert told.endswith("goes on from step 2")  # where L_u began
    assert train(out=tmp_path / "run", resume=True).interrupted is None


def test_a_failing_evaluation_names_the_backbone(tmp_path: Path) -> None:
    none = {"method": {"fuser": "none", "explainer": "none", "perturbation": "none"}}
    told = stopped(tmp_path / "run", Planting(forward=[3]), none)
    assert told.startswith("backbone 'failing' of plugin 'worse': forward raised ValueError")
    assert ", after step 3; " in told
    assert told.endswith(f"`plk train --resume {tmp_path / 'run'}` begins anew")
    assert train(out=tmp_path / "run", resume=True).interrupted is None


def test_pictures_that_fail_when_the_run_is_over_lose_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = {"evaluate": {"figures": 2, "strips": "none"}}
    run, conclude = tmp_path / "run", run_module.conclude

    def harmed(*given: Any) -> None:
        HARM["explain"] = boom
        conclude(*given)

    monkeypatch.setattr(run_module, "conclude", harmed)
    told = stopped(run, Planting(), layer)
    assert ", after step 6; " in told
    assert told.endswith("goes on from step 6")
    monkeypatch.undo()
    HARM.clear()
    train(out=run, resume=True)
    assert (run / "strips.npz").exists()


def test_a_person_sees_one_line(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.offer(
        "always",
        "'fuser', 'always', 'always_fails:Always', 'for a test'",
        always_fails=(
            "from failing_parts import Remembering\n"
            "class Always(Remembering):\n"
            "    def loss(self, *given):\n"
            "        raise KeyError('nothing')\n"
        ),
    )
    layers = {"method": {**METHOD["method"], "fuser": "always"}}
    line = ["train", toml_of(tiny(layers), tmp_path / "a.toml"), "--out", str(tmp_path / "run")]
    told = refused(line, capsys)
    assert told.startswith("fuser 'always' of plugin 'always': loss raised KeyError: 'nothing' (")
    assert " step " not in told  # it was told by the rehearsal, before the run
    assert not (tmp_path / "run").exists()


def test_a_line_of_the_screen_is_the_way_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    planting = Planting(fuse=[4])
    monkeypatch.setattr(training, "Display", lambda: planting)
    run = tmp_path / "run"
    toml = toml_of(tiny(METHOD), tmp_path / "a.toml")
    told = refused(["train", toml, "--out", str(run)], capsys)
    monkeypatch.undo()
    command = shlex.split(told.partition("`")[2].partition("`")[0])
    assert call(command[1:]) == 0


def test_a_step_that_fails_is_undone(tmp_path: Path) -> None:
    loop = assembled(tmp_path / "run", METHOD)
    loop.progress.consistency_began = 0
    before = {name: value.clone() for name, value in loop.learner.state_dict().items()}
    HARM["fuser_loss"] = boom
    with pytest.raises(StoppedError, match=r"in step 1; .* goes on from step 0$"):
        loop.train()
    assert same(before, loop.learner.state_dict())
    assert all(parameter.grad is None for parameter in loop.learner.parameters())


def test_of_several_processes_none_saves_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = assembled(tmp_path / "run", METHOD)
    monkeypatch.setattr(type(loop.fabric), "world_size", 2)
    with pytest.raises(StoppedError, match=r"in step 1; .* begins anew$"), resumable_step(loop):
        raise FaultError("a part: fuse raised ValueError")
    assert not saved(tmp_path / "run")


def test_no_file_is_promised_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = assembled(tmp_path / "run", METHOD)

    def full(*given: Any) -> None:
        raise RunError("the disk is full")

    monkeypatch.setattr("pseudolabel_kit.engine.failure.write_text", full)
    monkeypatch.setattr("pseudolabel_kit.engine.checkpoint.save", full)
    with pytest.raises(StoppedError) as error, resumable_step(loop):
        raise FaultError("a part: fuse raised ValueError")
    run = tmp_path / "run"
    assert str(error.value) == (
        "a part: fuse raised ValueError, in step 1; "
        f"once it is mended, `plk train --resume {run}` begins anew"
    )


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, MemoryError, ConfigError, RunError])
def test_whatever_a_part_raises_stops_the_run_by_its_name(
    kind: type[BaseException], tmp_path: Path
) -> None:
    def leave(answer: object) -> None:
        raise kind("enough")

    told = stopped(tmp_path / "run", Planting(leave, fuse=[4]))
    assert told.startswith("fuser 'failing' of plugin 'worse': ")
    assert ", in step 5; " in told
    assert told.endswith("goes on from step 4")


def test_an_interrupt_stays_one(tmp_path: Path) -> None:
    def struck(answer: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny(METHOD), out=tmp_path / "run", observers=(Planting(struck, fuse=[4]),))
    assert not (tmp_path / "run" / "failure.txt").exists()
