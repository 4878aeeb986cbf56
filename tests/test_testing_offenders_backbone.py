"""Backbones with one fault each, and their innocent twins, before the kit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import Site
from planted_backbones import WIDTH, BeginsQuietly, ClassesAlone, MasksAlone, Net, Sound
from planted_support import ANSWERS, EVERY, Offender, Offenders, faults_of
from torch import Tensor, nn

from pseudolabel_kit.interfaces import Batch, LossTerm, Prediction, Task

offends = Offenders("backbone")


@pytest.mark.parametrize(
    "part", [Sound, ClassesAlone, MasksAlone, BeginsQuietly], ids=lambda p: p.__name__
)
def test_the_innocent_pass(part: type, site: Site) -> None:
    assert faults_of("backbone", part, site) == {}


# ── the network ─────────────────────────────────────────────────────────────────────


class OtherWayNet(Net):
    def classify(self, images: Tensor) -> Tensor:
        found: Tensor = self.head(self.encode(images).amax(dim=(2, 3)))
        return found


@offends("classify_is_the_class_head", "classify.* differs from forward.*by up to", "same layers")
class ClassifiesAnotherWay(Sound):
    network = OtherWayNet


class SilentNet(Net):
    @property
    def classify(self) -> Any:
        raise AttributeError("classify")


@offends("classify_is_the_class_head", r"has no classify\(images\)", r"add classify\(images\)")
class CannotClassify(Sound):
    network = SilentNet


class SigmoidNet(Net):
    def forward(
        self, images: Tensor, on_features: Callable[..., tuple[Tensor, ...]] | None = None
    ) -> Prediction:
        answer = super().forward(images, on_features)
        return replace(answer, mask_logits=answer.need_masks("").sigmoid())


LOGITS = "heads_give_logits"


@offends(LOGITS, r"mask_logits stay in \[0, 1\] .* probabilities", "the last sigmoid")
class MasksUnderASigmoid(Sound):
    network = SigmoidNet


class SoftmaxNet(Net):
    def score(self, features: Tensor) -> Tensor:
        return super().score(features).softmax(dim=1)


@offends(LOGITS, r"class_logits stay in \[0, 1\] .* probabilities", "the last softmax")
class ClassesUnderASoftmax(Sound):
    network = SoftmaxNet


class DroppingNet(Net):
    def sides(self, features: Tensor) -> tuple[Tensor, ...]:
        return (F.dropout(features, 0.5),)


@offends("the_same_answer_twice", "in eval mode .*two ways.*sides", "training=self.training")
class DropsInEvalMode(Sound):
    network = DroppingNet


class BatchNet(Net):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.norm = nn.BatchNorm2d(WIDTH, track_running_stats=False)


@offends(
    "no_row_depends_on_its_batchmates",
    "row 0 changed .*class_logits by up to",
    r"never over the rows",
)
class BatchStatisticsInEvalMode(Sound):
    network = BatchNet


class CountingNet(Net):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.register_buffer("calls", torch.zeros(()))

    def encode(self, images: Tensor) -> Tensor:
        self.get_buffer("calls").add_(1)
        return super().encode(images)


@offends("eval_mode_leaves_the_network_alone", "the buffer of calls", "leave buffers")
class CountsInEvalMode(Sound):
    network = CountingNet


class LazyNet(Net):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.head = nn.LazyLinear(len(task.classes))


@offends("a_network_can_be_copied_and_saved", "'head.weight, head.bias' has no shape", "its sizes")
class LazyLayers(Sound):
    network = LazyNet


class ForgetfulNet(Net):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.factor = torch.rand(())

    def score(self, features: Tensor) -> Tensor:
        return self.factor * super().score(features)


@offends(
    "a_network_can_be_copied_and_saved",
    "a restored network answers otherwise.*class_logits",
    r"register_buffer\(",
)
class KeepsAPlainAttribute(Sound):
    network = ForgetfulNet


@offends("the_same_seed_builds_the_same_network", "one seed differ.*stem.weight", "torch's global")
class OwnGenerator(Sound):
    def build(self, task: Task) -> nn.Module:
        net = super().build(task)
        rng = torch.Generator()
        rng.seed()
        nn.init.normal_(net.get_parameter("stem.weight"), generator=rng)
        return net


@offends("the_same_seed_builds_the_same_network", "build changed the seed of torch's", "no global")
class SeedsItself(Sound):
    def build(self, task: Task) -> nn.Module:
        torch.manual_seed(0)
        return super().build(task)


@offends("shapes_types_and_ranges", "build gave None", "torch.nn.Module", EVERY)
class BuildsNothing(Sound):
    def build(self, task: Task) -> Any:
        return None


class TransposedNet(Net):
    def weight(self) -> Tensor:
        return self.head.weight.T


@offends(
    "shapes_types_and_ranges",
    r"scales\[0\].weight has shape \(7, 3\), expected \(3, 7\)",
    r"\(N,D\)",
    ANSWERS,
)
class TransposedWeight(Sound):
    network = TransposedNet


class RowlessNet(Net):
    def sides(self, features: Tensor) -> tuple[Tensor, ...]:
        return (features.mean(dim=(0, 2, 3)),)


# what has no rows cannot be a row's own
@offends("shapes_types_and_ranges", r"sides\[0\] .* \(7,\), expected 5 rows", "first axis", ANSWERS)
class SidesWithoutRows(Sound):
    network = RowlessNet


class DeafNet(Net):
    def forward(
        self, images: Tensor, on_features: Callable[..., tuple[Tensor, ...]] | None = None
    ) -> Prediction:
        if on_features:
            on_features((self.encode(images),))
        return super().forward(images)


@offends(
    "feature_maps_can_be_changed_where_it_says_so",
    "not what the decoder reads",
    r"features = on_features\(features\)",
)
class IgnoresChanges(Sound):
    network = DeafNet


# ── what it learns ──────────────────────────────────────────────────────────────────


class IdleNet(Net):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.spare = nn.Linear(2, 2)


@offends("every_weight_learns", "2 parameters: spare.weight, spare.bias", "freeze them")
class SpareLayer(Sound):
    network = IdleNet


TEACHES = "its_loss_teaches_rows_with_a_truth_alone"


@offends(TEACHES, "loss term 'dice' has no weight", "'segmentation.edge'")
class UnknownTerm(Sound):
    def loss(self, prediction: Prediction, batch: Batch) -> Mapping[str, LossTerm]:
        terms = dict(super().loss(prediction, batch))
        return terms | {"dice": terms["segmentation"]}


@offends(TEACHES, "reads the label or mask of rows that have none", "has_mask, in total")
class ReadsHiddenMasks(Sound):
    def loss(self, prediction: Prediction, batch: Batch) -> Mapping[str, LossTerm]:
        logits = prediction.need_masks("")
        pixels = F.binary_cross_entropy_with_logits(logits, batch.mask, reduction="none")
        rows = pixels.mean(dim=(1, 2, 3))
        terms = dict(super().loss(prediction, batch))
        return terms | {"segmentation": LossTerm(total=rows, count=torch.ones_like(rows).detach())}


@offends(TEACHES, "loss edited batch.mask in place", "clone")
class EditsTheMasks(Sound):
    def loss(self, prediction: Prediction, batch: Batch) -> Mapping[str, LossTerm]:
        terms = super().loss(prediction, batch)
        batch.mask.zero_()
        return terms


@pytest.mark.parametrize("offender", offends.all, ids=str)
def test_an_offender_is_caught(offender: Offender, site: Site) -> None:
    offends.assert_caught(offender, site)
