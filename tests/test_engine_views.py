"""How the student meets its strong views, and the labels that go with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from plk_support import make_batch
from step_support import W, make_learner, mean, taken, weights, without_truth
from tiny_parts import TwoViews
from torch import Tensor
from torch.testing import assert_close

from plk_calibrated.contrast_sharpness import ContrastSharpness
from pseudolabel_kit.config import AugmentConfig
from pseudolabel_kit.engine.step import CONSISTENCY, Learner, Step
from pseudolabel_kit.interfaces import (
    Batch,
    Perturbation,
    View,
)
from pseudolabel_kit.losses import consistency


@dataclass(frozen=True, kw_only=True)
class Copies(Perturbation):
    count: int

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        return [view] * self.count


@dataclass(frozen=True, kw_only=True)
class Mirrored(Perturbation):
    """Moves pixels, and so the label too."""

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        pseudo = replace(view.pseudo, mask=view.pseudo.mask.flip(-1))
        return [View(batch=view.batch, pseudo=pseudo).with_image(view.batch.image.flip(-1))]


@dataclass(frozen=True, kw_only=True)
class Pasted(Perturbation):
    """Shows labelled rows in place of unlabelled ones."""

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        return [view.with_image(labelled.image[: len(view.batch.image)])]


def of_views(learner: Learner, images: Callable[[Step], list[Tensor]]) -> tuple[Tensor, Tensor]:
    """The consistency of a step, and the mean over what the student says of these images."""
    step, _ = taken(learner)
    assert step.pseudo is not None
    means = []
    for image in images(step):
        term = consistency(learner.model(image), step.pseudo, background_weight=W)["mask"]
        means.append(mean(term.total, term.count))
    return step.terms["consistency.mask"], torch.stack(means).mean().detach()


def unlabelled(step: Step) -> Tensor:
    assert step.unlabelled is not None
    return step.unlabelled.image


CASES: dict[str, tuple[tuple[Perturbation, ...], Callable[[Step], list[Tensor]]]] = {
    "none": ((), lambda step: [unlabelled(step)]),
    "two views share a mean": (
        (TwoViews(),),
        lambda step: [unlabelled(step), 1 - unlabelled(step)],
    ),
    "three alike count as one": ((Copies(count=3),), lambda step: [unlabelled(step)]),
    "one after the other": (
        (TwoViews(), TwoViews()),
        lambda step: [unlabelled(step), 1 - unlabelled(step)],
    ),
    "pasted": ((Pasted(),), lambda step: [step.labelled.image[:3]]),
}


@pytest.mark.parametrize("case", CASES)
def test_all_strong_views_share_one_mean(case: str) -> None:
    perturbations, images = CASES[case]
    found, expected = of_views(make_learner(perturbations=perturbations), images)
    assert_close(found, expected)


def test_the_label_goes_where_the_perturbation_moved_it() -> None:
    step, _ = taken(make_learner(perturbations=(Mirrored(),)))
    learner = make_learner()
    assert step.pseudo is not None
    moved = replace(step.pseudo, mask=step.pseudo.mask.flip(-1))
    answer = learner.model(unlabelled(step).flip(-1))
    term = consistency(answer, moved, background_weight=W)["mask"]
    assert_close(step.terms["consistency.mask"], mean(term.total, term.count).detach())


def test_before_its_start_no_strong_view_is_made() -> None:
    learner = make_learner(perturbations=(Mirrored(),))
    step = Step(make_batch(2), without_truth(make_batch(2)), weights() | {CONSISTENCY: 0.0})
    learner(step)
    assert step.pseudo is None
    assert "consistency.mask" not in step.terms


def test_a_step_is_a_function_of_the_generator() -> None:
    learner = make_learner(perturbations=(ContrastSharpness(),), augment=AugmentConfig())
    losses: list[Any] = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(float(taken(learner)[1].detach()))
    assert losses[0] == losses[1] != losses[2]
