"""The rivals' recipes as whole runs of a few steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import assembled, records, same, tensors_of, tiny
from torch import Tensor, nn

from plk_rivals.mean_teacher import MeanTeacher
from plk_rivals.ua_mt import UncertaintyAware
from plk_views.bcp import BidirectionalCopyPaste
from plk_views.unimatch import UniMatch
from pseudolabel_kit.config import Config
from pseudolabel_kit.engine.loop import Loop
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.engine.signals import Stop
from pseudolabel_kit.layers import resolve
from pseudolabel_kit.plugin.build import build, read_recipe
from pseudolabel_kit.plugin.reference import parse_list

RECIPES = ("mean-teacher", "ua-mt", "cps", "unimatch", "bcp")
AT_ONCE = {"loss": {"consistency_start": "1steps", "consistency_ramp": "0%"}}


def recipe(name: str) -> Config:
    return resolve(read_recipe(name))


def layers(name: str) -> tuple[Mapping[str, Any], ...]:
    """The recipe's method on the tests' small network, its labels from the second step on."""
    method = {**recipe(name).method.model_dump(), "backbone": "vgg-multiscale:width=0.0625"}
    return {"method": method}, AT_ONCE


def ready(name: str, folder: Path) -> Loop:
    return assembled(folder / "run", *layers(name))


def weights(model: nn.Module | None) -> dict[str, Tensor]:
    assert model is not None
    return {name: each.detach().clone() for name, each in model.named_parameters()}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_holds_the_method_alone_and_its_parts_can_be_built(name: str) -> None:
    tables, default = recipe(name).model_dump(), resolve().model_dump()
    assert {key for key in default if tables[key] != default[key]} == {"method"}
    method = recipe(name).method
    build("fuser", method.fuser)
    for reference in parse_list(method.perturbation):
        build("perturbation", reference)
    for reference in parse_list(method.explainer):
        build("explainer", reference)


def test_each_recipe_names_what_makes_it_that_method() -> None:
    methods = {name: recipe(name).method for name in RECIPES}
    teachers = {name: method.teacher for name, method in methods.items()}
    assert teachers == {
        "mean-teacher": "ema",
        "ua-mt": "ema",
        "cps": "twin",
        "unimatch": "self",
        "bcp": "ema",
    }
    assert build("fuser", methods["mean-teacher"].fuser) == MeanTeacher()
    assert build("fuser", methods["ua-mt"].fuser) == UncertaintyAware()
    assert methods["ua-mt"].explainer == "uncertainty"
    assert build("perturbation", methods["unimatch"].perturbation) == UniMatch()
    assert build("perturbation", methods["bcp"].perturbation) == BidirectionalCopyPaste()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains(name: str, tmp_path: Path) -> None:
    loop = ready(name, tmp_path)
    before = weights(loop.learner.model)
    loop.run(Stop())
    after = weights(loop.learner.model)
    assert all(not torch.equal(before[each], after[each]) for each in before)
    losses = [record["losses"] for record in records(tmp_path / "run", "step")]
    assert any(step.get("consistency.mask", 0) > 0 for step in losses)
    assert all(torch.tensor(list(step.values())).isfinite().all() for step in losses)


def test_the_two_students_of_cps_start_apart_stay_apart_and_both_learn(tmp_path: Path) -> None:
    loop = ready("cps", tmp_path)
    learner = loop.learner
    before = weights(learner.model), weights(learner.twin)
    loop.run(Stop())
    after = weights(learner.model), weights(learner.twin)
    for start, end in zip(before, after, strict=True):
        assert all(not torch.equal(start[each], end[each]) for each in start)
    for one, other in (before, after):
        drawn = [name for name in one if one[name].dim() > 1]
        assert all(not torch.equal(one[name], other[name]) for name in drawn)
    images = torch.rand(2, 1, 32, 32)
    assert learner.twin is not None
    answers = (each(images).need_masks("") for each in (learner.model, learner.twin))
    assert not torch.allclose(*answers)


@pytest.mark.parametrize("name", ["mean-teacher", "ua-mt", "bcp"])
def test_the_averaged_weights_are_the_teacher(name: str, tmp_path: Path) -> None:
    loop = ready(name, tmp_path)
    loop.run(Stop())
    assert loop.average is not None
    assert loop.learner.teacher() is loop.average.model
    assert not same(weights(loop.learner.model), weights(loop.average.model))
    assert not any(each.requires_grad for each in loop.average.model.parameters())


def test_ua_mt_counts_the_batches_that_taught_and_no_audit(tmp_path: Path) -> None:
    config = tiny(*layers("ua-mt"))
    train(config, out=tmp_path / "run")
    taught = [r for r in records(tmp_path / "run", "step") if "consistency.mask" in r["losses"]]
    counted = tensors_of(tmp_path / "run", "learner.states")["fuser.batches"]
    assert counted == len(taught) == 5
