"""Whose labels a student learns from: its own, an average's, a frozen copy's, a twin's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from signal import SIGTERM, raise_signal
from typing import Any

import pytest
import torch
from conftest import Site
from tiny import assembled, records, same, steps, tensors_of, tiny
from tiny_parts import COMPONENTS
from torch import nn

from pseudolabel_kit.data.sampling import pool_of_round
from pseudolabel_kit.engine import oddities
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.engine.signals import Stop
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.plugin.hooks import hookimpl

FIXMATCH: Mapping[str, Any] = {"method": {"explainer": "none", "fuser": "fixmatch:threshold=0.5"}}


def teacher(name: str, **more: Any) -> Mapping[str, Any]:
    return {"method": {**FIXMATCH["method"], "teacher": name}, "train": more}


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_twins_differ_label_each_other_and_both_move(tmp_path: Path) -> None:
    loop = assembled(tmp_path, teacher("twin"))
    learner = loop.learner
    assert learner.twin is not None
    before = weights(learner.model), weights(learner.twin)
    assert not equal(*before)
    assert learner.pairs() == [(learner.model, learner.twin), (learner.twin, learner.model)]
    loop.run(Stop())
    assert not equal(before[0], weights(learner.model))
    assert not equal(before[1], weights(learner.twin))


def test_twins_share_the_mean_of_each_term(tmp_path: Path) -> None:
    """With equal weights both say the same, so that the terms are those of one student."""
    loop = assembled(tmp_path / "twin", teacher("twin"))
    alone = assembled(tmp_path / "alone", FIXMATCH)
    assert loop.learner.twin is not None
    loop.learner.twin.load_state_dict(loop.learner.model.state_dict())
    found = []
    for each in (loop, alone):
        each.progress.consistency_began = 0
        step = each.feed.step(4, each.weights(4))
        torch.manual_seed(0)
        each.learner.method = type(each.learner.method)(
            **{**vars(each.learner.method), "perturbations": ()}
        )
        each.learner(step)
        found.append(step.terms)
    assert found[0].keys() == found[1].keys()
    assert "consistency.mask" in found[0]
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name])


METHODS: Mapping[str, Mapping[str, str]] = {
    "twin": {"teacher": "twin", "fuser": "mean-teacher"},
    "frozen": {"teacher": "frozen", "fuser": "mean-teacher"},
    "ema": {"teacher": "ema", "fuser": "mean-teacher"},
    "trained head": {"explainer": "sgc:dim=8", "fuser": "pseudoseg"},
    "uncertainty": {"explainer": "uncertainty:passes=2", "fuser": "ua-mt", "teacher": "ema"},
    "status": {"fuser": "flexmatch:threshold=0.5:momentum=0.5"},
    "weight": {"fuser": "softmatch:momentum=0.5"},
    "bank": {"backbone": "resnet18", "fuser": "label-propagation:neighbours=3"},
}


@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_remembers_survives_a_stop(tmp_path: Path, name: str) -> None:
    """L_u begins at step 2, the second of two rounds at 5: the stop at 4 is within the first."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    config = tiny({"method": {"explainer": "none", **METHODS[name]}, "train": {"rounds": 2}})
    config = tiny(config.model_dump(exclude_none=True), steps(8))
    train(config, out=whole)
    assert train(config, out=parts, observers=(StopAt(4),)).interrupted == SIGTERM
    train(out=parts, resume=True)
    assert same(tensors_of(whole), tensors_of(parts))
    assert records(whole) == records(parts)


class StopAt:
    """Asks the run to stop when a step has ended."""

    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def plk_step_ended(self, step: int) -> None:
        if step == self.step:
            raise_signal(SIGTERM)


def test_a_frozen_teacher_is_renewed_at_each_round_and_only_then(tmp_path: Path) -> None:
    loop = assembled(tmp_path, teacher("frozen", rounds=2, steps=10))
    assert loop.frozen is not None
    seen, students = [], []
    go_on = loop.train

    def step() -> None:
        seen.append(weights(loop.learner.teacher()))
        students.append(weights(loop.learner.model))
        go_on()

    loop.train = step  # type: ignore[method-assign]
    loop.run(Stop())
    # L_u begins at step 2; the second of two rounds at step 6.
    for number in range(2, 10):
        renewed = 2 if number < 6 else 6
        assert equal(seen[number], students[renewed]), number
    assert not equal(seen[5], seen[6])


def test_each_round_adds_its_share_of_the_unlabelled_rows(tmp_path: Path) -> None:
    loop = assembled(tmp_path, teacher("frozen", rounds=3, progressive=True, steps=11))
    pools = {}
    go_on = loop.train

    def step() -> None:
        pools[loop.progress.step] = loop.feed.pool()
        drawn = loop.feed.step(loop.progress.step, loop.weights(loop.progress.step)).unlabelled
        assert drawn is None or len(drawn.image) == 2
        go_on()

    loop.train = step  # type: ignore[method-assign]
    loop.run(Stop())
    count = len(loop.streams.unlabelled)
    sizes = [len(pools[number]) for number in range(2, 11)]
    assert sizes == [-(-count // 3)] * 3 + [-(-count * 2 // 3)] * 3 + [count] * 3
    assert set(pools[2]) < set(pools[5]) < set(pools[8]) == set(range(count))


def test_pools_grow_and_are_drawn_from_the_seed() -> None:
    pools = [set(pool_of_round(r, rounds=4, count=10, seed=0)) for r in range(4)]
    assert [len(pool) for pool in pools] == [3, 5, 8, 10]
    assert pools[0] < pools[1] < pools[2] < pools[3] == set(range(10))
    assert set(pool_of_round(0, rounds=4, count=10, seed=1)) != pools[0]


def test_a_fuser_surveys_all_rows_when_a_round_begins(tmp_path: Path, site: Site) -> None:
    site.offer("tiny", *COMPONENTS)
    layer = {"method": {"explainer": "none", "fuser": "surveying"}, "train": {"rounds": 2}}
    loop = assembled(tmp_path / "run", layer, steps(6))
    state = loop.learner.method.fuser.state
    assert state is not None
    loop.run(Stop())
    told = {name: float(value) for name, value in state.named_buffers()}
    assert told["rounds"] == 2
    assert told["labelled"] == len(loop.streams.labelled)
    assert told["unlabelled"] == len(loop.streams.unlabelled)
    assert told["masks"] == 0  # the truth of unlabelled rows stays hidden


def test_the_first_survey_does_not_see_the_rows_that_audit(tmp_path: Path, site: Site) -> None:
    site.offer("tiny", *COMPONENTS)
    method = {"explainer": "none", "fuser": "surveying"}
    loop = assembled(tmp_path / "run", {"method": method}, steps(6))
    assert loop.streams.held is not None
    loop.run(Stop())
    state = loop.learner.method.fuser.state
    assert state is not None
    assert float(state.get_buffer("labelled")) == len(loop.streams.early)
    assert len(loop.streams.early) < len(loop.streams.labelled)


def test_twins_cannot_share_a_bank_of_features(tmp_path: Path) -> None:
    layer = {"method": {"backbone": "resnet18", "explainer": "none", "teacher": "twin"}}
    layer["method"]["fuser"] = "label-propagation"
    with pytest.raises(
        ConfigError,
        match=r"^method.*: fuser 'label-propagation' of plugin '[a-z]+' surveys rows with one",
    ):
        assembled(tmp_path, layer)


@pytest.mark.parametrize(
    ("train", "told"),
    [
        ({"rounds": 3}, "train.rounds = 3 changes nothing"),
        ({"progressive": True}, "train.progressive changes nothing in one round"),
        ({"rounds": 2, "progressive": True}, None),
    ],
)
def test_rounds_that_change_nothing_are_told(
    tmp_path: Path, train: Mapping[str, Any], told: str | None
) -> None:
    loop = assembled(tmp_path, FIXMATCH, {"train": train})
    warned = [text for text in oddities.before(loop) if "changes nothing" in text]
    assert [told in text for text in warned] == [True] if told else warned == []


def test_a_strict_audit_leaves_the_round_to_be_begun_again(tmp_path: Path) -> None:
    loop = assembled(tmp_path, teacher("frozen", rounds=2, progressive=True))
    for _ in range(2):
        loop.begin_consistency()
        assert loop.progress.round == 0
