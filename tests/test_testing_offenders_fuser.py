"""Fusers with one fault each, and their innocent twins, before the kit."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Site
from planted_support import ANSWERS, EVERY, Offender, Offenders, faults_of
from pydantic import Field
from torch import Tensor, nn

from pseudolabel_kit.interfaces import (
    Batch,
    Evidence,
    Fuser,
    LossTerm,
    Model,
    Prediction,
    PseudoLabels,
    Task,
)

offends = Offenders("fuser")


def labels(mask: Tensor) -> PseudoLabels:
    return PseudoLabels(mask=mask, mask_weight=torch.ones_like(mask[:, :1]))


def pixels_of(losses: Tensor) -> dict[str, LossTerm]:
    rows = losses.mean(dim=(1, 2, 3))
    return {"mask": LossTerm(total=rows, count=torch.ones_like(rows).detach())}


@dataclass(frozen=True, kw_only=True)
class Sound(Fuser):
    """The mean of decoder and evidence.

    Attributes:
        trust: the weight of the evidence.
    """

    trust: Annotated[float, Field(ge=0, le=1)] = 0.5

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        mask = prediction.need_masks(self.origin).float().sigmoid()
        for each in evidence.values():
            mask = mask.lerp(each.map.expand_as(mask), self.trust)
        return labels(self.spoil(mask))

    def spoil(self, mask: Tensor) -> Tensor:
        return mask


# ── innocents ───────────────────────────────────────────────────────────────────────


class Counting(Sound):
    """Reads a running mean, then moves it, like FreeMatch's threshold."""

    def make_state(self, task: Task) -> nn.Module:
        state = nn.Module()
        state.register_buffer("mean", torch.tensor(0.5))
        return state

    def spoil(self, mask: Tensor) -> Tensor:
        assert self.state is not None
        mean = self.state.get_buffer("mean")
        label = (mask >= mean).float()
        mean.lerp_(mask.mean(), 0.1)
        return label


class Noisy(Sound):
    """Draws as the contract says."""

    def spoil(self, mask: Tensor) -> Tensor:
        return (mask + 0.1 * torch.rand_like(mask)).clamp(0, 1)


class Learned(Sound):
    """Has weights, drawn where they are made."""

    def make_state(self, task: Task) -> nn.Module:
        return nn.Conv2d(task.mask_channels, task.mask_channels, 1)

    def spoil(self, mask: Tensor) -> Tensor:
        assert self.state is not None
        with torch.no_grad():
            found: Tensor = self.state(mask).float().sigmoid()
        return found


class Surveying(Sound):
    """Labels by the whole pool, and counts nothing before it has seen it."""

    def make_state(self, task: Task) -> nn.Module:
        state = nn.Module()
        state.register_buffer("features", torch.zeros(0, 0))
        state.register_load_state_dict_pre_hook(room)
        return state

    def survey(self, model: Model, labelled: Iterable[Batch], unlabelled: Iterable[Batch]) -> None:
        assert self.state is not None
        found = [model(batch.image).scales[-1].features.mean(dim=(2, 3)) for batch in unlabelled]
        self.state.features = torch.cat(found)

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        assert self.state is not None
        pseudo = super().fuse(prediction, evidence)
        if not prediction.scales or not len(known := self.state.get_buffer("features")):
            return pseudo
        queries = prediction.scales[-1].features.float().mean(dim=(2, 3))
        near = torch.cdist(queries, known).amin(dim=1).float().clamp(0, 1)
        return replace(pseudo, mask_weight=near[:, None, None, None].expand_as(pseudo.mask[:, :1]))


def room(module: nn.Module, saved: Mapping[str, Tensor], prefix: str, *_: object) -> None:
    module.features = torch.empty_like(saved[f"{prefix}features"])


@cache
def blur(side: int) -> Tensor:
    return torch.full((1, 1, side, side), 1 / side**2)


class Cached(Sound):
    """Makes a kernel once in a process."""

    def spoil(self, mask: Tensor) -> Tensor:
        rows = F.conv2d(mask.flatten(0, 1)[:, None], blur(3), padding=1).float()
        return rows.reshape(mask.shape).clamp(0, 1)


class Tying(Sound):
    """Ties both streams, whatever the pseudo labels weigh, like MultiMix."""

    def loss(self, student: Prediction, pseudo: PseudoLabels, labelled: Prediction) -> Any:
        far = student.need_masks("").float().mean() - labelled.need_masks("").float().mean()
        total = far.square().expand(len(student.need_masks("")))
        terms = super().loss(student, pseudo, labelled)
        return {**terms, "tie": LossTerm(total=total, count=torch.ones_like(total).detach())}


@pytest.mark.parametrize(
    "part", [Sound, Counting, Noisy, Learned, Surveying, Cached, Tying], ids=lambda p: p.__name__
)
def test_the_innocent_pass(part: type, site: Site) -> None:
    assert faults_of("fuser", part, site) == {}


# ── the answer ──────────────────────────────────────────────────────────────────────


@offends("shapes_types_and_ranges", r"mask has shape \(5, 32, 37\), expected", "axes", ANSWERS)
class TooFewAxes(Sound):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        pseudo = super().fuse(prediction, evidence)
        return replace(pseudo, mask=pseudo.mask[:, 0])


@offends("shapes_types_and_ranges", "mask is torch.float64", r"\.float\(\)", ANSWERS)
class Double(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        return mask.double()


@offends("shapes_types_and_ranges", r"mask lies in .*1\.4.*\[0, 1\]", r"clamp\(0, 1\)", ANSWERS)
class AboveOne(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        return 1.5 * mask


@offends("shapes_types_and_ranges", r"mask lies in \[-0\.", r"clamp\(0, 1\)", ANSWERS)
class BelowZero(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        return mask - 0.5


@offends("shapes_types_and_ranges", "one is None: mask_weight", "both or neither", ANSWERS)
class NoWeight(Sound):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        return replace(super().fuse(prediction, evidence), mask_weight=None)


@offends("shapes_types_and_ranges", "mask carries gradients", "detach", ANSWERS)
class WithGradients(Sound):
    def make_state(self, task: Task) -> nn.Module:
        return nn.ParameterList([nn.Parameter(torch.ones(1))])

    def spoil(self, mask: Tensor) -> Tensor:
        assert isinstance(self.state, nn.ParameterList)
        return mask * self.state[0]


@offends("shapes_types_and_ranges", "pseudo labels are a Tensor", r"PseudoLabels\(", ANSWERS)
class BareTensor(Sound):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> Any:
        return super().fuse(prediction, evidence).mask


@offends("shapes_types_and_ranges", "one row: fuse raised IndexError.*fuser.py", "make it work")
class SqueezesTheRows(Sound):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        prediction.need_classes(self.origin).squeeze().softmax(dim=1)
        return super().fuse(prediction, evidence)


@offends("mixed_precision", "autocast to torch.bfloat16: mask is torch.bfloat16", "float32")
class Halved(Sound):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        return labels(prediction.need_masks(self.origin).sigmoid())


# an image of one pixel is constant, too
@offends(
    "images_without_content",
    "without content: mask has 2368 of 2368 values NaN",
    "clamp_min",
    frozenset({"odd_and_tiny_images"}),
)
class StretchesEachRow(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        low, high = mask.amin(dim=(1, 2, 3), keepdim=True), mask.amax(dim=(1, 2, 3), keepdim=True)
        return (mask - low) / (high - low)


@offends("odd_and_tiny_images", "on images of 1x1: fuse raised RuntimeError", "or refuse")
class PoolsByFour(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        return F.interpolate(F.avg_pool2d(mask, 4), mask.shape[-2:])


# the kit's usual images are odd: no answer is without the fault
@offends(
    "shapes_types_and_ranges",
    "fuse raised RuntimeError: shape .* is invalid",
    "make it work",
    EVERY,
)
class HalvesTheWidth(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        rows, channels, height, width = mask.shape
        pairs = mask.reshape(rows, channels, height, width // 2, 2)
        return pairs.flatten(3)


# ── one row, one input, one seed ────────────────────────────────────────────────────


@offends("no_row_depends_on_its_batchmates", r"row 0 changed .*mask by up to", r"dim=\(1, 2, 3\)")
class StretchesTheBatch(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        return (mask - mask.amin()) / (mask.amax() - mask.amin()).clamp_min(1e-6)


@offends("the_same_answer_twice", "the same input in two ways.*mask", "clock or generator")
class OwnGenerator(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        rng = torch.Generator().manual_seed(time.perf_counter_ns())
        return mask * torch.rand(mask.shape, generator=rng)


@offends("the_same_answer_twice", "the same input in two ways.*mask", "torch's global generator")
class SystemsRandom(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        return mask * int.from_bytes(os.urandom(4), "big") / 2**32


@offends("the_same_answer_twice", "the same input in two ways.*mask", "torch's global generator")
class NumpysRandom(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        noise = np.random.default_rng().random(mask.shape)
        return mask * torch.from_numpy(noise).float()


calls = 0


@offends("the_same_answer_twice", "the same input in two ways.*mask", "class or in a global")
class CountsInAGlobal(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        global calls
        calls += 1
        return mask / calls


@offends("the_same_answer_twice", "the same input in two ways.*mask", "buffers .* make_state")
class CountsInItsClass(Sound):
    calls: ClassVar[int] = 0

    def spoil(self, mask: Tensor) -> Tensor:
        type(self).calls += 1
        return mask / self.calls


# ── what is not its own ─────────────────────────────────────────────────────────────


@offends("inputs_are_left_alone", "fuse edited prediction.mask_logits in place", "clone")
class EditsThePrediction(Sound):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        return labels(prediction.need_masks(self.origin).sigmoid_().float())


@offends("inputs_are_left_alone", r"fuse edited evidence\['ig'\].map in place", "underscore")
class EditsTheEvidence(Sound):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        for each in evidence.values():
            if each.family == "attribution":
                each.map.sqrt_()
        return super().fuse(prediction, evidence)


@offends("inputs_are_left_alone", r"fuse took away evidence\['ig'\].map", r"dict\(evidence\)")
class TakesEvidence(Sound):
    def fuse(self, prediction: Prediction, evidence: Any) -> PseudoLabels:
        evidence.pop("ig", None)
        return super().fuse(prediction, evidence)


@offends("global_settings_are_left_alone", "the seed of torch's generator from .* to 0", "seed")
class Reseeds(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        torch.manual_seed(0)
        return mask


@offends("global_settings_are_left_alone", "the default dtype from torch.float32", "no global")
class ChangesTheDtype(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        torch.set_default_dtype(torch.float64)
        return mask


@offends("global_settings_are_left_alone", "mode of deterministic algorithms from 1", "no global")
class MakesChance(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        torch.use_deterministic_algorithms(False)
        return mask


@offends("global_settings_are_left_alone", "grad mode from True to False", "no global")
class SwitchesGradientsOff(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        torch.set_grad_enabled(False)
        return mask


# ── memory ──────────────────────────────────────────────────────────────────────────


@offends("its_state_survives_saving", "after saving and loading .*mask", "buffers .* make_state")
class CountsInItself(Sound):
    def begin(self, task: Task) -> None:
        super().begin(task)
        object.__setattr__(self, "_calls", 0)

    def spoil(self, mask: Tensor) -> Tensor:
        calls = vars(self)["_calls"] + 1
        object.__setattr__(self, "_calls", calls)
        return mask / calls


@offends("its_state_survives_saving", "after saving and loading .*mask", "persistent=False")
class ForgetsWhenSaved(Counting):
    def make_state(self, task: Task) -> nn.Module:
        state = nn.Module()
        state.register_buffer("mean", torch.tensor(0.5), persistent=False)
        return state


@offends("its_state_survives_saving", "after saving and loading .*mask", "make_state")
class CountsBesideItsState(Counting):
    def begin(self, task: Task) -> None:
        super().begin(task)
        object.__setattr__(self, "_calls", 0)

    def spoil(self, mask: Tensor) -> Tensor:
        object.__setattr__(self, "_calls", vars(self)["_calls"] + 1)
        return super().spoil(mask) / vars(self)["_calls"]


@offends("memory_is_given_back", r"every call keeps \d{5} bytes", "no list that grows")
class KeepsAList(Sound):
    def begin(self, task: Task) -> None:
        super().begin(task)
        object.__setattr__(self, "_seen", [])

    def spoil(self, mask: Tensor) -> Tensor:
        vars(self)["_seen"].append(mask)
        return mask


@offends("memory_is_given_back", r"every call keeps \d{5} bytes", "no list that grows")
class KeepsItsInputs(KeepsAList):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        vars(self)["_seen"].append(prediction)
        return labels(prediction.need_masks(self.origin).float().sigmoid())


@offends("cost_grows_with_the_rows", r"12 rows write \d+\.\d times the bytes of 3", "each row")
class ComparesAllRows(Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        pairs = (mask[:, None] - mask[None]).abs()
        return mask + 0 * pairs.sum(dim=1)


# ── what it says of itself ──────────────────────────────────────────────────────────


@offends("what_it_reads_is_what_it_says", 'reads = "prediction", yet the labels change', "reads")
class SaysItReadsNone(Sound):
    reads: ClassVar[Any] = "prediction"


@offends("what_it_reads_is_what_it_says", "no evidence comes: fuse raised KeyError: 'ig'", "reads")
class NeedsWhatItDoesNotRead(Sound):
    reads: ClassVar[Any] = "prediction"

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        assert evidence["ig"]
        return super().fuse(prediction, {})


@offends(
    "a_missing_head_is_refused_by_name",
    "without mask_logits: fuse raised AttributeError: 'NoneType'",
    r"need_masks\(self.origin\)",
)
class TrustsInMasks(Sound):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        return labels(prediction.mask_logits.float().sigmoid())  # type: ignore[union-attr]


@offends("a_survey_leaves_the_model_alone", "survey changed the model: the mode of", "eval mode")
class TrainsTheTeacher(Surveying):
    def survey(self, model: Any, labelled: Iterable[Batch], unlabelled: Iterable[Batch]) -> None:
        super().survey(model, labelled, unlabelled)
        model.train()


@offends("a_survey_leaves_the_model_alone", "before its first survey.*fuse raised", "make it work")
class NeedsItsSurvey(Surveying):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        assert self.state is not None
        assert len(self.state.get_buffer("features"))
        return super().fuse(prediction, evidence)


# ── the loss ────────────────────────────────────────────────────────────────────────


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
