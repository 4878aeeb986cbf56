"""The recipes, and whole runs of the fusers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from test_parallel import ONE_STEP, alone_and_together, assert_close
from tiny import assembled, newest, records, same, tensors_of, tiny

from plk_thresholds.fixmatch import FixMatch
from plk_thresholds.flexmatch import FlexMatch
from plk_thresholds.freematch import FreeMatch
from plk_thresholds.none import Nothing
from plk_thresholds.pseudo_label import PseudoLabel
from plk_thresholds.softmatch import SoftMatch
from pseudolabel_kit.config import Config
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.engine.signals import Stop
from pseudolabel_kit.interfaces import Fuser
from pseudolabel_kit.layers import resolve
from pseudolabel_kit.plugin.build import build, read_recipe

FUSERS: Mapping[str, Fuser] = {
    "supervised": Nothing(),
    "fixmatch": FixMatch(targets="both"),
    "fixmatch-paper": FixMatch(targets="both"),
    "pseudo-label": PseudoLabel(targets="both"),
    "flexmatch": FlexMatch(momentum=0.99, targets="both"),
    "freematch": FreeMatch(momentum=0.99, targets="both"),
    "softmatch": SoftMatch(momentum=0.99, targets="both"),
}


def by(fuser: str) -> Mapping[str, Any]:
    return {"method": {"fuser": fuser, "explainer": "none"}}


# ── recipes ─────────────────────────────────────────────────────────────────────────


def recipe(name: str) -> Config:
    return resolve(read_recipe(name))


@pytest.mark.parametrize("name", FUSERS)
def test_a_recipe_names_parts_that_can_be_built(name: str) -> None:
    method = recipe(name).method
    assert build("fuser", method.fuser) == FUSERS[name]
    assert (method.explainer, method.teacher) == ("none", "self")
    build("backbone", method.backbone)
    if method.perturbation != "none":
        build("perturbation", method.perturbation)


@pytest.mark.parametrize("name", sorted(FUSERS.keys() - {"fixmatch-paper"}))
def test_a_recipe_of_the_one_budget_holds_what_defines_the_method_alone(name: str) -> None:
    tables, default = recipe(name).model_dump(), resolve().model_dump()
    changed = {key for key in default if tables[key] != default[key]}
    assert changed == {"method"} | ({"loss"} if name == "pseudo-label" else set())


def test_pseudo_label_grows_over_the_first_two_fifths_of_the_view_it_labelled() -> None:
    config = recipe("pseudo-label")
    assert (config.loss.consistency_start, config.loss.consistency_ramp) == ("0%", "40%")
    assert config.method.perturbation == "none"


def test_fixmatch_paper_is_the_publication() -> None:
    config = recipe("fixmatch-paper")
    o, train_, loss = config.optimiser, config.train, config.loss
    assert (o.kind, o.lr, o.betas[0], o.weight_decay, o.schedule) == (
        *("sgd", 0.03, 0.9, 5e-4, "cosine"),
    )
    assert o.floor == pytest.approx(torch.tensor(7 * torch.pi / 16).cos().item(), abs=1e-3)
    assert (train_.batch_size, train_.unlabelled_ratio, train_.ema) == (64, 7, 0.999)
    assert train_.steps == 2**20
    assert (loss.consistency, loss.consistency_start, loss.background_weight) == (1, "0%", 1)


# ── runs ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", FUSERS)
def test_a_recipe_runs(name: str, tmp_path: Path) -> None:
    """A few steps under the tests' budget, with the recipe's method."""
    method = {**recipe(name).method.model_dump(), "backbone": "vgg-multiscale:width=0.0625"}
    loop = assembled(tmp_path / "run", {"method": method}, {"loss": {"consistency_start": "0%"}})
    before = {k: v.clone() for k, v in loop.learner.model.state_dict().items()}
    loop.run(Stop())
    assert not same(before, dict(loop.learner.model.state_dict()))
    named = {name for record in records(tmp_path / "run", "step") for name in record["losses"]}
    consistent = {name for name in named if name.startswith("consistency.")}
    expected = {"consistency.mask", "consistency.label"} if name != "supervised" else set()
    if name == "freematch":
        expected |= {f"{each}.fairness" for each in expected}
    assert consistent == expected


def test_freematch_resumed_ends_as_the_unbroken_run(tmp_path: Path) -> None:
    config = tiny(by("freematch:momentum=0.5:targets=both"), {"loss": {"consistency_start": "0%"}})
    train(config, out=tmp_path / "whole")
    train(config, out=tmp_path / "run")
    newest(tmp_path / "run").unlink()  # back to the checkpoint before the last
    train(out=tmp_path / "run", resume=True)
    states = tensors_of(tmp_path / "whole", "learner.states")
    assert {key.partition(".")[0] for key in states} == {"fuser"}
    assert same(tensors_of(tmp_path / "whole"), tensors_of(tmp_path / "run"))
    assert records(tmp_path / "whole", "step") == records(tmp_path / "run", "step")


def test_two_processes_remember_what_one_does(tmp_path: Path) -> None:
    """Each sees half of the rows; their thresholds are those of all."""
    one, two = alone_and_together(tmp_path, by("softmatch:momentum=0.5:targets=both"), *ONE_STEP)
    alone, together = (tensors_of(run, "learner.states") for run in (one, two))
    assert_close(alone, together)
    assert alone["fuser.mask.variance"] < 1  # no longer the start
