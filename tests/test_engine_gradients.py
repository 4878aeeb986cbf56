"""Gradients that cannot be had or are not finite: told by the part, before a weight moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import failing_parts
import pytest
import torch
from conftest import Site
from failing_parts import HARM, METHOD, WARN, Planting, install, stopped
from tiny import assembled, records, same, tensors_of, tiny
from torch import Tensor, nn

from pseudolabel_kit.engine.failure import StoppedError, resumable_step
from pseudolabel_kit.engine.gradients import differentiate
from pseudolabel_kit.engine.loop import Loop
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.interfaces import LossTerm, Prediction, Task


@pytest.fixture(autouse=True)
def parts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, monkeypatch)


class Raising(torch.autograd.Function):
    """Passes its input on, and raises on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise SystemExit("no way back")


def endless(x: Tensor) -> Tensor:
    """The same, with a gradient that is NaN: that of the square root of 0."""
    return x + (0 * x).sqrt()


def raising(x: Tensor) -> Tensor:
    found: Tensor = Raising.apply(x)
    return found


def in_terms(change: Callable[[Tensor], Tensor]) -> Callable[[Any], Any]:
    return lambda terms: {n: replace(t, total=change(t.total)) for n, t in terms.items()}


def in_answer(change: Callable[[Tensor], Tensor]) -> Callable[[Any], Any]:
    def harm(answer: Prediction) -> Prediction:
        assert answer.mask_logits is not None
        return replace(answer, mask_logits=change(answer.mask_logits))

    return harm


def ready(folder: Path, *layers: Any) -> Loop:
    loop = assembled(folder, METHOD, *layers)
    loop.progress.consistency_began = 0
    return loop


RAISED = rf"backward of {{}} raised SystemExit: no way back \({__file__}:\d+\), in step 1; "
NAN = r"backward of {} gave a gradient of '{}' with \d+ NaN of \d+ values: expected finite values, "


@pytest.mark.parametrize("clip", [5.0, 0.0])
@pytest.mark.parametrize(
    ("method", "kind", "term"),
    [
        ("backbone_loss", "backbone", "segmentation"),
        ("fuser_loss", "fuser", "consistency.mask"),
        ("forward", "backbone", "segmentation"),
    ],
)
def test_a_gradient_that_is_not_finite_is_its_part_s_fault(
    method: str, kind: str, term: str, clip: float, tmp_path: Path
) -> None:
    loop = ready(tmp_path / "run", {"optimiser": {"clip": clip}})
    HARM[method] = in_answer(endless) if method == "forward" else in_terms(endless)
    before = {name: value.clone() for name, value in loop.learner.state_dict().items()}
    told = NAN.format("forward" if method == "forward" else "loss", term)
    with pytest.raises(
        StoppedError, match=rf"^{kind} 'failing' of plugin 'worse': {told}in step 1"
    ):
        loop.train()
    assert same(before, loop.learner.state_dict())
    assert all(parameter.grad is None for parameter in loop.learner.parameters())


@pytest.mark.parametrize(
    ("method", "kind"),
    [("backbone_loss", "backbone"), ("fuser_loss", "fuser"), ("forward", "backbone")],
)
def test_what_is_raised_on_the_way_back_is_its_part_s_fault(
    method: str, kind: str, tmp_path: Path
) -> None:
    loop = ready(tmp_path / "run")
    HARM[method] = in_answer(raising) if method == "forward" else in_terms(raising)
    told = RAISED.format("forward" if method == "forward" else "loss")
    with pytest.raises(StoppedError, match=rf"^{kind} 'failing' of plugin 'worse': {told}"):
        loop.train()


def test_a_term_of_an_explainer_is_its_own(tmp_path: Path) -> None:
    loop = ready(tmp_path / "run")
    answers: list[Prediction] = []
    HARM["forward"] = lambda answer: (answers.append(answer), answer)[1]

    def harm(answer: None) -> LossTerm:
        scores = answers[-1].mask_logits
        assert scores is not None
        return LossTerm(
            total=endless(0 * scores.mean(dim=(1, 2, 3))), count=torch.ones(len(scores))
        )

    HARM["explainer_loss"] = harm
    told = NAN.format("loss", "failing")
    with pytest.raises(StoppedError, match=rf"^explainer 'failing' of plugin 'worse': {told}"):
        loop.train()


def test_what_a_part_learns_itself_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = failing_parts.Remembering.make_state

    def learning(self: Any, task: Task) -> nn.Module:
        state = before(self, task)
        state.register_parameter("slope", nn.Parameter(torch.zeros(())))
        return state

    monkeypatch.setattr(failing_parts.Remembering, "make_state", learning)
    loop = ready(tmp_path / "run")
    slope = loop.learner.states["fuser"].get_parameter("slope")
    HARM["fuser_loss"] = in_terms(lambda total: total + endless(slope))
    told = NAN.format("loss", "consistency.mask")
    with pytest.raises(StoppedError, match=rf"^fuser 'failing' of plugin 'worse': {told}"):
        loop.train()


def test_the_step_is_repeated_as_it_was(tmp_path: Path) -> None:
    loop, drawn = ready(tmp_path / "run"), list[float]()

    def draw(total: Tensor) -> Tensor:
        drawn.append(float(torch.rand(())))
        return endless(total)

    HARM["fuser_loss"] = in_terms(draw)
    with pytest.raises(StoppedError):
        loop.train()
    assert len(drawn) == 2
    assert drawn[0] == drawn[1]


def test_a_run_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(tiny(METHOD), out=whole)
    told = stopped(run, Planting(in_terms(endless), fuser_loss=[4]))
    assert ", in step 5; " in told
    assert told.endswith("goes on from step 4")
    train(out=run, resume=True)
    assert same(tensors_of(whole), tensors_of(run))
    assert records(whole) == records(run)


def test_gradients_that_overflow_by_themselves_are_nobody_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = ready(tmp_path / "run")
    infinite = torch.tensor(torch.inf)
    monkeypatch.setattr(type(loop.fabric), "clip_gradients", lambda *given, **more: infinite)
    with pytest.raises(RunError, match="in step 1 the gradients are not finite: training diverged"):
        loop.train()


def test_where_every_term_is_sound_all_are_named(tmp_path: Path) -> None:
    loop = ready(tmp_path / "run")
    told = "the gradients of segmentation, consistency.mask: RuntimeError: element 0 of tensors"
    with pytest.raises(StoppedError, match=told), resumable_step(loop):
        differentiate(loop, torch.zeros(()))


@pytest.mark.parametrize("layer", [{}, WARN])
def test_an_explainer_cannot_switch_gradients_off(layer: Any, tmp_path: Path) -> None:
    def harm(answer: Any) -> Any:
        torch.set_grad_enabled(False)
        return answer

    loop = ready(tmp_path / "run", layer)
    HARM.update(explain=harm, diagnose=harm, fuse=harm)
    loop.train()
    loop.audit(loop.streams.audited)
    assert torch.is_grad_enabled()
