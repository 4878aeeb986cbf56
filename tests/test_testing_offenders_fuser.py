"""Innocent fusers, and fusers whose answer has one fault each, before the kit."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Site
from planted_fusers import (
    Cached,
    Calibrated,
    Counting,
    Held,
    Learned,
    Noisy,
    Sound,
    Surveying,
    Tying,
    labels,
)
from planted_support import ANSWERS, EVERY, Offender, Offenders, faults_of
from torch import Tensor, nn

from pseudolabel_kit.interfaces import (
    Evidence,
    Prediction,
    PseudoLabels,
    Task,
)

offends = Offenders("fuser")


@pytest.mark.parametrize(
    "part",
    [Sound, Counting, Noisy, Learned, Surveying, Calibrated, Cached, Tying],
    ids=lambda p: p.__name__,
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


# each row is asked alone, too
@offends(
    "shapes_types_and_ranges",
    "one row: fuse raised IndexError.*fuser.py",
    "make it work",
    frozenset({"no_row_depends_on_its_batchmates"}),
)
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


FLAT = "images_without_content"


@offends(FLAT, r"without content: mask has \d+ of 2368 values NaN", "divisions and logarithms")
class MultipliesExperts(Sound):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        mask = prediction.need_masks(self.origin).float().sigmoid()
        for each in evidence.values():
            yes, no = mask * each.map, (1 - mask) * (1 - each.map)
            mask = yes / (yes + no)
        return labels(mask)


@offends(FLAT, r"without content: label_weight has 2 of 2 values NaN", "logarithms by clamp_min")
class WeighsByEntropy(Sound):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        share = prediction.need_classes(self.origin).float().softmax(dim=1)
        sure = 1 + (share * share.log()).sum(dim=1) / math.log(share.shape[1])
        pseudo = super().fuse(prediction, evidence)
        return replace(pseudo, label=share, label_weight=sure.clamp_min(0))


@offends("mixed_precision", "autocast to torch.float16: mask has .* NaN", "divisions")
class OverflowsInFloat16(Sound):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        large = (100 * prediction.need_masks(self.origin)).square().clamp_min(1e-6)
        return labels((large / large).float())


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


# ── calibrating ─────────────────────────────────────────────────────────────────────


@offends("it_is_calibrated_by_what_is_known", "whose mask is not known changes", "has_mask")
class BelievesUnknownMasks(Calibrated):
    def calibrate(self, held: Held) -> None:
        assert self.state is not None
        masks = [batch.mask for _, _, batch in held]
        self.state.get_buffer("scale").copy_(torch.cat(masks).mean())


@offends("it_is_calibrated_by_what_is_known", "before it is calibrated", "holdout")
class MustBeCalibrated(Calibrated):
    def make_state(self, task: Task) -> nn.Module:
        state = super().make_state(task)
        state.get_buffer("scale").fill_(-1)
        return state

    def spoil(self, mask: Tensor) -> Tensor:
        assert self.state is not None
        if self.state.get_buffer("scale") < 0:
            raise RuntimeError("not calibrated yet")
        return super().spoil(mask)


@offends("it_is_calibrated_by_what_is_known", "held.*changed|edited", "clone|copy")
class EditsHeldRows(Calibrated):
    def calibrate(self, held: Held) -> None:
        kept = list(held)
        for _, _, batch in kept:
            batch.mask.zero_()
        super().calibrate(kept)


@pytest.mark.parametrize("offender", offends.all, ids=str)
def test_an_offender_is_caught(offender: Offender, site: Site) -> None:
    offends.assert_caught(offender, site)
