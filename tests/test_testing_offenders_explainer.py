"""Explainers with one fault each, and their innocent twins, before the kit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from conftest import Site
from planted_explainers import Hooked, Learning, Noisy, Sound
from planted_support import ANSWERS, Offender, Offenders, faults_of
from torch import Tensor, nn

from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import Batch, LossTerm, Prediction, Ramp, Task
from pseudolabel_kit.losses import segmentation
from pseudolabel_kit.plugin.catalogue import catalogue
from pseudolabel_kit.testing import ConformanceError, ExplainerConformance, make_model
from pseudolabel_kit.testing.suites import promises

offends = Offenders("explainer")


@pytest.mark.parametrize("part", [Sound, Noisy, Hooked, Learning], ids=lambda p: p.__name__)
def test_the_innocent_pass(part: type, site: Site) -> None:
    assert faults_of("explainer", part, site) == {}


# ── the model ───────────────────────────────────────────────────────────────────────


@offends("the_model_is_left_as_it_was", "explain changed the model: the mode of", "eval mode")
class LeavesItInTrainMode(Sound):
    def leave(self, model: Any, images: Tensor) -> None:
        model.train()


@offends("the_model_is_left_as_it_was", "the model: the grad of", r"autograd\.grad")
class ClearsGradients(Sound):
    def leave(self, model: Any, images: Tensor) -> None:
        model.zero_grad()


@offends("the_model_is_left_as_it_was", "the model: the grad of", r"in place of backward\(\)")
class GoesBackward(Sound):
    def slope(self, model: Any, score: Tensor, pixels: Tensor) -> Tensor:
        score.backward()
        assert pixels.grad is not None
        return pixels.grad


@offends("the_model_is_left_as_it_was", "the requires_grad of mask_head.bias", "leave requires")
class Unfreezes(Sound):
    def leave(self, model: Any, images: Tensor) -> None:
        model.requires_grad_(True)


@offends("the_model_is_left_as_it_was", "the hooks of deep", "remove every hook")
class LeavesAHook(Sound):
    def leave(self, model: Any, images: Tensor) -> None:
        model.deep.register_forward_hook(lambda *_: None)


@offends("the_model_is_left_as_it_was", "the buffer of shallow.1.running_mean", "leave buffers")
class MovesStatistics(Sound):
    def leave(self, model: Any, images: Tensor) -> None:
        model.shallow.train()
        with torch.no_grad():
            model(images)
        model.shallow.eval()


@offends("the_model_is_left_as_it_was", "the weight of shallow.0.weight", "a copy of the model")
class EditsWeights(Sound):
    def leave(self, model: Any, images: Tensor) -> None:
        model.shallow[0].weight.data.clamp_min_(0)


@offends("the_model_is_left_as_it_was", "diagnose changed the model: the mode", "eval mode")
class DiagnosesInTrainMode(Sound):
    def diagnose(self, model: Any, images: Tensor, prediction: Prediction) -> Mapping[str, float]:
        model.train()
        return {}


# ── the maps ────────────────────────────────────────────────────────────────────────


@offends("shapes_types_and_ranges", "the evidence carries gradients", "detach", ANSWERS)
class NotDetached(Sound):
    def slope(self, model: Any, score: Tensor, pixels: Tensor) -> Tensor:
        return torch.autograd.grad(score, pixels, create_graph=True)[0] + 0 * pixels


@offends("shapes_types_and_ranges", r"shape \(5, 32, 37\), expected \(5, 1,", "axes", ANSWERS)
class NoChannel(Sound):
    def explain(self, model: Any, images: Tensor, prediction: Prediction) -> Tensor:
        return super().explain(model, images, prediction)[:, 0]


# an image of one pixel is constant, too
@offends(
    "images_without_content",
    "without content: the evidence has 2368 of 2368 values NaN",
    "clamp_min",
    frozenset({"odd_and_tiny_images"}),
)
class StretchesTheImage(Sound):
    def explain(self, model: Any, images: Tensor, prediction: Prediction) -> Tensor:
        grey = images.mean(dim=1, keepdim=True)
        low, high = grey.amin(dim=(1, 2, 3), keepdim=True), grey.amax(dim=(1, 2, 3), keepdim=True)
        return (grey - low) / (high - low)


@offends("no_row_depends_on_its_batchmates", "row 0 changed .*by up to", r"dim=\(1, 2, 3\)")
class StretchesTheBatch(Sound):
    def explain(self, model: Any, images: Tensor, prediction: Prediction) -> Tensor:
        grey = images.mean(dim=1, keepdim=True)
        return grey / grey.amax().clamp_min(1e-12)


@offends("inputs_are_left_alone", "explain edited images in place", "clone")
class EditsImages(Sound):
    def leave(self, model: Any, images: Tensor) -> None:
        images.sqrt_()


@offends(
    "it_works_without_gradients",
    r"under torch\.no_grad\(\): explain raised RuntimeError: element 0 of tensors",
    r"with torch\.enable_grad\(\)",
)
class TrustsInGradMode(Sound):
    def explain(self, model: Any, images: Tensor, prediction: Prediction) -> Tensor:
        pixels = images.clone().requires_grad_()
        slope = torch.autograd.grad(model.classify(pixels).sum(), pixels)[0].float().abs()
        slope = slope.mean(dim=1, keepdim=True)
        return slope / slope.amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)


@offends(
    "a_missing_head_is_refused_by_name",
    "without scales: explain raised IndexError",
    "refuse",
)
class TrustsInScales(Sound):
    def leave(self, model: Any, images: Tensor) -> None:
        pass

    def explain(self, model: Any, images: Tensor, prediction: Prediction) -> Tensor:
        assert prediction.scales[-1].features.ndim == 4
        return super().explain(model, images, prediction)


# ── what it says of itself, and its loss ────────────────────────────────────────────


@offends("its_family_is_known", "family is 'heatmap'", "class-map, attribution, uncertainty")
class UnknownFamily(Sound):
    family: ClassVar[Any] = "heatmap"


@offends("its_ramp_can_be_read", "loss_ramp says 'soon'", "20%, 5epochs or 100steps")
class UnreadableRamp(Sound):
    def loss_ramp(self) -> Ramp:
        return Ramp(start="soon")


@offends("its_ramp_can_be_read", "loss_ramp has weight -1", "0 or more")
class NegativeRamp(Sound):
    def loss_ramp(self) -> Ramp:
        return Ramp(weight=-1.0)


@offends("its_figures_are_finite", "diagnose gave {'gap': nan}", "finite floats by name")
class DiagnosesNan(Sound):
    def diagnose(self, model: Any, images: Tensor, prediction: Prediction) -> Mapping[str, float]:
        return {"gap": float("nan")}


@offends("its_figures_are_finite", "diagnose gave {'gap': tensor", "finite floats by name")
class DiagnosesTensors(Sound):
    def diagnose(self, model: Any, images: Tensor, prediction: Prediction) -> Any:
        return {"gap": torch.tensor(1.0)}


@offends(
    "its_loss_teaches_rows_with_a_truth_alone", "loss reads the label or mask", "batch.has_mask"
)
class ReadsHiddenMasks(Learning):
    def loss(self, prediction: Prediction, batch: Batch) -> LossTerm | None:
        every = torch.ones_like(batch.has_mask)
        return segmentation(self.logits(prediction), batch.mask, every, 1.0)


@offends(
    "its_loss_teaches_rows_with_a_truth_alone", "loss reads the label or mask", "batch.has_label"
)
class ReadsHiddenLabels(Sound):
    def loss(self, prediction: Prediction, batch: Batch) -> LossTerm | None:
        logits = prediction.need_classes(self.origin)
        total = nn.functional.cross_entropy(logits, batch.label, reduction="none")
        return LossTerm(total=total, count=torch.ones_like(total).detach())


@offends("its_loss_teaches_rows_with_a_truth_alone", "no gradient leaves loss", "detach")
class LossDetached(Learning):
    def logits(self, prediction: Prediction) -> Tensor:
        return super().logits(prediction).detach()


@pytest.mark.parametrize("offender", offends.all, ids=str)
def test_an_offender_is_caught(offender: Offender, site: Site) -> None:
    offends.assert_caught(offender, site)


# ── a part that needs a network of its own ──────────────────────────────────────────


class NeedsAStem(Sound):
    """Explains networks with a stem alone."""

    def score(self, model: Any, pixels: Tensor) -> Tensor:
        if not hasattr(model, "stem"):
            raise PluginError(f"{self.origin}: this network has no stem: expected one")
        return super().score(model, pixels)


def with_a_stem(task: Task) -> nn.Module:
    model = make_model(task)
    model.stem = nn.Identity()
    return model


class WithAStem(ExplainerConformance):
    reference = "planted"

    def model(self, task: Task) -> nn.Module:
        return with_a_stem(task)


def test_a_suite_can_bring_its_network(site: Site) -> None:
    faults = faults_of("explainer", NeedsAStem, site)
    verdict = faults["shapes_types_and_ranges"]
    assert verdict.fault == (
        "explain refused: explainer 'planted' of plugin 'planted': this network has no stem: "
        "expected one"
    )
    assert "overrides `tasks`, `model` or `arguments`" in verdict.fix
    catalogue.cache_clear()
    for name in promises(WithAStem):
        getattr(WithAStem(), name)()


def test_a_fault_is_an_assertion_with_its_fix() -> None:
    with pytest.raises(AssertionError, match=r"^what was found\n  fix: what to do$"):
        raise ConformanceError("what was found", "what to do")
