"""Backbones whose network cannot be explained, remembers, or learns amiss, before the kit."""

from __future__ import annotations

import pytest
import torch
from conftest import Site
from planted_backbones import WIDTH, Net, Sound
from planted_support import Offender, Offenders
from torch import Tensor, nn

from pseudolabel_kit.interfaces import Task

offends = Offenders("backbone")
EXPLAINED = "the_predicted_class_can_be_explained"


class GradlessNet(Net):
    @torch.no_grad()
    def classify(self, images: Tensor) -> Tensor:
        return super().classify(images)


@offends(EXPLAINED, r"classify\(images\) has no finite slope", r"no torch\.no_grad\(\)")
class ClassifiesWithoutGradients(Sound):
    network = GradlessNet


class DetachedNet(Net):
    def classify(self, images: Tensor) -> Tensor:
        return super().classify(images.detach())


@offends(EXPLAINED, r"classify\(images\) has no finite slope", r"detach\(\)")
class ClassifiesDetachedImages(Sound):
    network = DetachedNet


class RoundingNet(Net):
    def encode(self, images: Tensor) -> Tensor:
        return super().encode((10 * images).round() / 10)


@offends(EXPLAINED, r"classify\(images\) has no finite slope", "threshold between")
class RoundsImages(Sound):
    network = RoundingNet


class TiringNet(Net):
    calls = 0

    def encode(self, images: Tensor) -> Tensor:
        self.calls += 1
        return super().encode(images) * (1.0 if self.calls < 50 else 0.5)


@offends(
    "eval_mode_leaves_the_network_alone",
    "forward changed the model: the attributes of the whole",
    "attributes of a copy",
)
class TiresAfterFiftyCalls(Sound):
    network = TiringNet


class EditingNet(Net):
    def encode(self, images: Tensor) -> Tensor:
        if self.training:
            images.sub_(0.5)
        return super().encode(images)


@offends(
    "its_loss_teaches_rows_with_a_truth_alone",
    "forward in training mode edited images in place",
    "work on a copy",
    frozenset({"every_weight_learns", "a_batch_of_one_row_can_be_learned"}),
)
class EditsImagesInTraining(Sound):
    network = EditingNet


class RowsNormNet(Net):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.across = nn.BatchNorm1d(WIDTH)

    def score(self, features: Tensor) -> Tensor:
        found: Tensor = self.head(self.across(features.mean(dim=(2, 3))))
        return found


@offends(
    "a_batch_of_one_row_can_be_learned",
    "one row: forward in training mode raised ValueError: Expected more than 1 value",
    r"nn\.GroupNorm",
)
class NormalisesOverRows(Sound):
    network = RowsNormNet


@pytest.mark.parametrize("offender", offends.all, ids=str)
def test_an_offender_is_caught(offender: Offender, site: Site) -> None:
    offends.assert_caught(offender, site)
