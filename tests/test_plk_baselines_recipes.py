"""The recipes as whole runs, and the self-training loop of Semi-Inf-Net."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from test_engine_teachers import StopAt
from tiny import assembled, records, same, tensors_of, tiny
from torch import Tensor

from pseudolabel_kit.engine.loop import Loop
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.engine.signals import Stop
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import PseudoLabels
from pseudolabel_kit.layers import resolve
from pseudolabel_kit.plugin.build import build, read_recipe

SMALL: Mapping[str, str] = {
    "jcs": "jcs:width=0.0625",
    "inf-net": "inf-net:encoder=test_resnet:width=4",
    "semi-inf-net": "inf-net:encoder=test_resnet:width=4",
    "hu2020": "hu2020:width=0.1",
    "graphxcovid": "resnet18:width=0.0625",
}
DEFINING = {
    "jcs": {"loss": {"background_weight"}},
    "inf-net": {"loss": {"background_weight"}},
    "semi-inf-net": {
        "loss": {"background_weight", "consistency", "consistency_ramp"},
        "train": {"rounds", "progressive"},
    },
    "hu2020": {"loss": {"background_weight"}},
    "graphxcovid": {"train": {"rounds"}},
}
MASKS = {"segmentation", "segmentation.sides"}
TERMS = {
    "jcs": {"classification", *MASKS},
    "inf-net": {*MASKS, "segmentation.edge"},
    "semi-inf-net": {*MASKS, "segmentation.edge", "consistency.mask"},
    "hu2020": {"classification"},
    "graphxcovid": {"classification", "consistency.label"},
}


def small(name: str, **training: Any) -> list[Mapping[str, Any]]:
    """A recipe on a narrow network and, of its rounds, two."""
    recipe = read_recipe(name)
    rounds = min(2, recipe.get("train", {}).get("rounds", 1))
    method = {"method": {"backbone": SMALL[name]}}
    return [recipe, method, {"train": {"rounds": rounds, **training}}]


# ── recipes ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SMALL)
def test_a_recipe_holds_parts_that_can_be_built_and_what_defines_the_method(name: str) -> None:
    recipe = read_recipe(name)
    assert {table: set(keys) for table, keys in recipe.items() if table != "method"} == (
        DEFINING[name]
    )
    method = resolve(recipe).method
    assert method.explainer == "none"
    build("backbone", method.backbone)
    build("fuser", method.fuser)
    if method.perturbation != "none":
        build("perturbation", method.perturbation)


@pytest.mark.parametrize("name", SMALL)
def test_a_run_moves_every_parameter_and_measures_what_there_is(tmp_path: Path, name: str) -> None:
    loop = assembled(tmp_path, *small(name))
    before = {key: p.detach().clone() for key, p in loop.learner.named_parameters()}
    assert loop.run(Stop())
    still = [key for key, p in loop.learner.named_parameters() if torch.equal(p, before[key])]
    assert still == []
    losses = records(tmp_path, "step")[-1]["losses"]
    assert set(losses) == TERMS[name]
    assert all(value > 0 for value in losses.values()), losses
    measures = records(tmp_path, "epoch")[-1]["measures"]
    assert (measures["auc"] is None) == (name in ("inf-net", "semi-inf-net"))
    assert (measures["dice"] is None) == (name == "graphxcovid")


@pytest.mark.parametrize(
    ("kind", "reference", "expected"),
    [
        ("backbone", "jcs:width=0.06", "width=0.06: expected float >= 0.0625"),
        ("backbone", "inf-net:width=0", "width=0: expected int >= 1"),
        ("backbone", "hu2020:threshold=1", "threshold=1: expected float"),
        ("backbone", "hu2020:steps=0", "steps=0: expected int >= 1"),
        ("fuser", "label-propagation:alpha=1", "alpha=1: expected float"),
        ("fuser", "label-propagation:neighbours=0", "neighbours=0: expected int >= 1"),
        ("fuser", "label-propagation:capacity=0", "capacity=0: expected int >= 1"),
        ("fuser", "label-propagation:gamma=0", "gamma=0: expected float > 0"),
    ],
)
def test_options_out_of_range_are_refused(kind: str, reference: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        build(kind, reference)  # type: ignore[call-overload]
    assert expected in str(refusal.value)


# ── Semi-Inf-Net ────────────────────────────────────────────────────────────────────


def watched(loop: Loop) -> list[tuple[set[int], Tensor | None]]:
    """Run, and note before each step the pool, and the label that one image would get."""
    found: list[tuple[set[int], Tensor | None]] = []
    image = loop.streams.unlabelled.batch([0], device=torch.device("cpu")).image
    go_on = loop.train

    def step() -> None:
        with torch.no_grad():
            answer = loop.learner.teacher()(image)
        pseudo: PseudoLabels = loop.learner.method.fuser.fuse(answer, {})
        found.append((set(loop.feed.pool().tolist()), pseudo.mask))
        go_on()

    loop.train = step  # type: ignore[method-assign]
    loop.run(Stop())
    return found


def test_the_pool_grows_and_labels_stand_still_within_a_round(tmp_path: Path) -> None:
    loop = assembled(tmp_path, *small("semi-inf-net", steps=8))
    found = watched(loop)  # L_u begins at step 2, the second round at step 5
    assert loop.config.loss.consistency_start == "2steps"
    first, second = found[2:5], found[5:8]
    whole = set(range(len(loop.streams.unlabelled)))
    assert all(pool == first[0][0] for pool, _ in first)
    assert all(pool == whole for pool, _ in second)
    assert first[0][0] < whole
    for stage in (first, second):
        labels = [mask for _, mask in stage if mask is not None]
        assert len(labels) == len(stage)
        assert all(torch.equal(labels[0], mask) for mask in labels)
    assert all(((mask == 0) | (mask == 1)).all() for _, mask in found[2:] if mask is not None)


def test_pseudo_labels_pull_as_hard_as_masks(tmp_path: Path) -> None:
    loop = assembled(tmp_path, *small("semi-inf-net"))
    loop.progress.consistency_began = 0
    weights = loop.weights(0)
    assert weights["consistency"] == weights["segmentation"] == 5


# ── GraphXCOVID ─────────────────────────────────────────────────────────────────────


def test_graphxcovid_surveys_every_row_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    config = tiny(*small("graphxcovid", steps=8))
    train(config, out=whole)
    rows = tensors_of(whole)["learner.states.fuser.features"].shape[0]
    assert rows == 3 + 30  # labelled and unlabelled
    assert train(config, out=parts, observers=(StopAt(5),)).interrupted
    train(out=parts, resume=True)
    assert same(tensors_of(whole), tensors_of(parts))
