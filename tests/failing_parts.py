"""Parts that a test can make fail, at any moment of a run and in any way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Site
from tiny import tiny
from tiny_parts import Surveying
from torch import Tensor, nn

from plk_baselines.unet import UNet
from plk_views.noise import Noise
from pseudolabel_kit.engine.failure import StoppedError
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.interfaces import (
    Batch,
    Evidence,
    Explainer,
    LossTerm,
    Model,
    Prediction,
    PseudoLabels,
    Ramp,
    Task,
    View,
)
from pseudolabel_kit.plugin.hooks import hookimpl

COMPONENTS = tuple(
    f"{kind!r}, 'failing', 'failing_parts:{part}', 'for a test'"
    for kind, part in (
        ("backbone", "Net"),
        ("explainer", "Drawing"),
        ("fuser", "Remembering"),
        ("perturbation", "Shaking"),
    )
)
METHOD = {
    "method": {
        "backbone": "failing",
        "explainer": "failing",
        "fuser": "failing",
        "perturbation": "failing",
    },
    "train": {"checkpoint_every": 100},
}
WARN = {"train": {"isolate_errors": "warn"}}
HARM: dict[str, Callable[[Any], Any]] = {}
"""What is done to a method's answer, by the method's name; nothing where it is not named."""


def harmed(method: str, answer: Any) -> Any:
    return HARM.get(method, lambda same: same)(answer)


def boom(answer: object) -> None:
    raise ValueError("boom\nof two lines")


class Planting:
    """An observer that harms methods from the end of some steps to the end of the next ones."""

    def __init__(self, harm: Callable[[Any], Any] = boom, **after: Sequence[int]) -> None:
        self.harm, self.after = harm, after

    @hookimpl
    def plk_step_ended(self, step: int) -> None:
        HARM.clear()
        HARM.update({name: self.harm for name, steps in self.after.items() if step in steps})

    @hookimpl
    def plk_run_ended(self) -> None:
        HARM.clear()


class Wrapped(nn.Module):
    """A network whose answer can be harmed."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Prediction:
        return harmed("forward", self.net(images))  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Net(UNet):
    """With batch norm, whose statistics move before anything else in a step fails."""

    width: float = 0.0625

    def build(self, task: Task) -> nn.Module:
        return harmed("build", Wrapped(super().build(task)))  # type: ignore[no-any-return]

    def pretrain(self, model: nn.Module) -> None:
        harmed("pretrain", None)

    def loss(self, prediction: Prediction, batch: Batch) -> Mapping[str, LossTerm]:
        return harmed("backbone_loss", super().loss(prediction, batch))  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Drawing(Explainer):
    """Draws at random, and remembers how often, before it can fail."""

    def make_state(self, task: Task) -> nn.Module:
        state = nn.Module()
        state.register_buffer("drawn", torch.tensor(0))
        return state

    def explain(self, model: Model, images: Tensor, prediction: Prediction) -> Tensor:
        assert self.state is not None
        self.state.get_buffer("drawn").add_(1)
        return harmed("explain", torch.rand_like(images[:, :1]))  # type: ignore[no-any-return]

    def loss(self, prediction: Prediction, batch: Batch) -> LossTerm | None:
        return harmed("explainer_loss", None)  # type: ignore[no-any-return]

    def loss_ramp(self) -> Ramp:
        return harmed("loss_ramp", Ramp())  # type: ignore[no-any-return]

    def diagnose(self, model: Model, images: Tensor, prediction: Prediction) -> Mapping[str, float]:
        return harmed("diagnose", {"trust": 1.0})  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Remembering(Surveying):
    """Its state has moved when it fails."""

    reads = "evidence"  # type: ignore[misc]

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        assert self.state is not None
        self.state.get_buffer("labelled").add_(len(evidence))
        return harmed("fuse", super().fuse(prediction, evidence))  # type: ignore[no-any-return]

    def loss(self, *given: Any) -> Mapping[str, LossTerm]:
        return harmed("fuser_loss", super().loss(*given))  # type: ignore[no-any-return]

    def calibrate(self, held: Any) -> None:
        self.state.get_buffer("labelled").add_(len(list(held)))  # type: ignore[union-attr]
        harmed("calibrate", None)

    def survey(self, *given: Any) -> None:
        super().survey(*given)
        harmed("survey", None)


@dataclass(frozen=True, kw_only=True)
class Shaking(Noise):
    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        return harmed("perturb", super().perturb(view, labelled))  # type: ignore[no-any-return]


def install(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer the parts; runs write no report, which takes longer than they do."""
    HARM.clear()
    monkeypatch.setattr("pseudolabel_kit.engine.run.write_report", lambda folder: None)
    site.offer("worse", *COMPONENTS)


def stopped(folder: Path, planting: Planting, *layers: Any) -> str:
    """The message that a run ends with."""
    with pytest.raises(StoppedError) as error:
        train(tiny(METHOD, *layers), out=folder, observers=(planting,))
    assert "\n" not in str(error.value)
    return str(error.value)
