"""Fusers whose loss has one fault each, before the kit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import Site
from planted_fusers import Sound
from planted_support import Offender, Offenders
from torch import Tensor

from pseudolabel_kit.interfaces import LossTerm, Prediction, PseudoLabels

offends = Offenders("fuser")


def pixels_of(losses: Tensor) -> dict[str, LossTerm]:
    rows = losses.mean(dim=(1, 2, 3))
    return {"mask": LossTerm(total=rows, count=torch.ones_like(rows).detach())}


# a loss that cannot teach is seen wherever the student is to learn
LEARNS = frozenset(
    {"a_student_that_is_sure_and_wrong_learns", "ignored_pixels_teach_nothing"},
)


def bce(student: Prediction, pseudo: PseudoLabels) -> Tensor:
    logits, mask, weight = student.need_masks(""), pseudo.mask, pseudo.mask_weight
    return weight * F.binary_cross_entropy_with_logits(logits, mask, reduction="none")


@offends("the_student_learns_from_its_labels", "no gradient leaves loss", "detach", LEARNS)
class LossDetached(Sound):
    def loss(self, student: Prediction, pseudo: PseudoLabels, labelled: Prediction) -> Any:
        return pixels_of(bce(student, pseudo).detach())


@offends("ignored_pixels_teach_nothing", "of weight 0 teach the student", "by mask_weight")
class LossIgnoresWeights(Sound):
    def loss(self, student: Prediction, pseudo: PseudoLabels, labelled: Prediction) -> Any:
        weight = torch.ones_like(pseudo.mask_weight)
        return pixels_of(bce(student, replace(pseudo, mask_weight=weight)))


@offends(
    "the_student_learns_from_its_labels", "count of loss 'mask' carries", "detach the count", LEARNS
)
class LossCountsWithGradients(Sound):
    def loss(self, student: Prediction, pseudo: PseudoLabels, labelled: Prediction) -> Any:
        (term,) = pixels_of(bce(student, pseudo)).values()
        count = student.need_masks("").sigmoid().mean(dim=(1, 2, 3))
        return {"mask": replace(term, count=count)}


@offends(
    "the_student_learns_from_its_labels",
    r"total \(\) and count \(\), expected \(5,\)",
    "row",
    LEARNS,
)
class LossOfTheWholeBatch(Sound):
    def loss(self, student: Prediction, pseudo: PseudoLabels, labelled: Prediction) -> Any:
        return {"mask": LossTerm(total=bce(student, pseudo).mean(), count=torch.tensor(1.0))}


@offends("the_student_learns_from_its_labels", "loss returned a Tensor", "mapping", LEARNS)
class LossIsATensor(Sound):
    def loss(self, student: Prediction, pseudo: PseudoLabels, labelled: Prediction) -> Any:
        return bce(student, pseudo).mean()


@offends(
    "a_student_that_is_sure_and_wrong_learns",
    "with logits of 200 and -200: loss 'mask' is NaN or infinite",
    "logsigmoid",
)
class LossTakesLogarithms(Sound):
    def loss(self, student: Prediction, pseudo: PseudoLabels, labelled: Prediction) -> Any:
        p, mask = student.need_masks("").sigmoid(), pseudo.mask
        return pixels_of(-pseudo.mask_weight * (mask * p.log() + (1 - mask) * (1 - p).log()))


@offends("the_student_learns_from_its_labels", "loss edited pseudo.mask in place", "clone", LEARNS)
class LossEditsTheLabels(Sound):
    def loss(self, student: Prediction, pseudo: PseudoLabels, labelled: Prediction) -> Any:
        pseudo.mask.round_()
        return pixels_of(bce(student, pseudo))


@pytest.mark.parametrize("offender", offends.all, ids=str)
def test_an_offender_is_caught(offender: Offender, site: Site) -> None:
    offends.assert_caught(offender, site)
