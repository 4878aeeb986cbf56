from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from plk_support import Toy, begun, make_batch, make_net, make_task
from torch import Tensor

from plk_calibrated.integrated_gradients import IntegratedGradients
from plk_captum.deeplift import DeepLift
from plk_captum.gradcam import GradCam
from plk_captum.input_x_gradient import InputXGradient
from pseudolabel_kit.attribution import Baseline, ClassEvidence, ClassScores, baseline_of
from pseudolabel_kit.errors import PluginError

TWO = replace(make_task(), lesion_classes=(1, 2))


class Where(ClassEvidence):
    """Credits the images' own pixels, and remembers what it was asked."""

    def credit(self, scores: ClassScores, images: Tensor, label: Tensor) -> Tensor:
        object.__setattr__(self, "asked", (scores, images, label))
        return images.clone().requires_grad_()


def test_baselines() -> None:
    images = make_batch(2, make_task(channels=3)).image
    assert not baseline_of(images, "zero").any()
    mean = baseline_of(images, "mean")
    torch.testing.assert_close(mean[..., :1, :1], images.mean(dim=(2, 3), keepdim=True))
    assert mean.std(dim=(2, 3)).max() < 1e-6
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    blurred = baseline_of(ramp + 0.2 * (torch.arange(64) % 2), "blur")
    assert (blurred - ramp - 0.1)[..., 8:-8].abs().max() < 0.02  # stripes go, the ramp stays


@pytest.mark.parametrize("kind", ["mean", "blur", "zero"])
def test_an_attribution_is_nil_where_the_image_is_its_own_baseline(kind: Baseline) -> None:
    images = torch.zeros(1, 1, 32, 37)
    part = begun(InputXGradient(baseline=kind))
    net = make_net()
    assert not part.explain(net, images, net(images)).any()


def test_a_black_lesion_is_seen_from_the_mean_and_never_from_black() -> None:
    images = torch.full((1, 1, 32, 37), 0.8)
    images[..., 10:20, 10:20] = 0
    seen, blind = (
        begun(InputXGradient(baseline=kind)).explain(Toy(), images + 1e-3, Toy()(images))
        for kind in ("mean", "zero")
    )
    inside, outside = (slice(None), slice(None), slice(12, 18), slice(12, 18)), (..., 30, 30)
    assert blind[inside].max() < 0.01 < blind[outside]
    assert seen[inside].max() > 0


def test_class_scores_are_the_model_s_and_hold_it_as_a_child() -> None:
    net, images = make_net(), make_batch().image
    scores = ClassScores(net)
    assert torch.equal(scores(images), net.classify(images))
    assert scores.get_submodule("model.encoder.conv5") is net.encoder["conv5"]


@pytest.mark.parametrize(("target", "label"), [("predicted", 0), ("lesion", 2)])
def test_credit_is_asked_for_the_target_class_and_handed_on_detached(
    target: str, label: int
) -> None:
    images = make_batch(2).image.requires_grad_()
    prediction = replace(Toy()(images), class_logits=torch.tensor([[9.0, 1, 2]] * 2))
    part = begun(Where(target=target))  # type: ignore[arg-type]
    evidence = part.explain(Toy(), images, prediction)
    _, seen, asked = part.__dict__["asked"]
    assert asked.tolist() == [label, label]
    assert not seen.requires_grad
    assert not evidence.requires_grad


def test_the_margin_is_the_log_odds_of_the_classes_that_can_hold_lesions() -> None:
    net, images = make_net(TWO), make_batch(2, TWO).image
    scores = begun(Where(target="margin"), TWO).scores(net)
    lesion = net.classify(images).softmax(dim=1)[:, [1, 2]].sum(dim=1, keepdim=True)
    torch.testing.assert_close(scores(images), torch.logit(lesion), atol=1e-4, rtol=1e-4)


def test_the_area_is_the_decoder_s_mean_probability() -> None:
    net, images = make_net(), make_batch(2).image
    scores = begun(Where(target="mask")).scores(net)
    masks = net(images).mask_logits
    torch.testing.assert_close(scores(images)[:, 0], masks.sigmoid().mean(dim=(1, 2, 3)))


@pytest.mark.parametrize("target", ["margin", "mask"])
@pytest.mark.parametrize("kind", [InputXGradient, IntegratedGradients, GradCam, DeepLift])
def test_methods_explain_one_score_as_they_do_a_class(
    kind: type[ClassEvidence], target: str
) -> None:
    net, images = make_net(TWO), make_batch(2, TWO).image
    part = begun(kind(target=target), TWO)  # type: ignore[arg-type]
    found = part.explain(net, images, net(images))
    other = begun(kind(), TWO).explain(net, images, net(images))
    assert found.shape == (2, 1, *images.shape[-2:])
    assert found.any()
    assert not torch.equal(found, other)


def test_one_score_needs_no_prediction_of_classes_for_its_label() -> None:
    images = make_batch(2).image
    part = begun(Where(target="mask"))
    part.explain(Toy(), images, replace(Toy()(images), class_logits=None))
    assert part.__dict__["asked"][2].tolist() == [0, 0]


def test_a_margin_without_a_rival_is_the_sum_of_all_classes() -> None:
    task = replace(make_task(), lesion_classes=())
    net, images = make_net(task), make_batch(1, task).image
    scores = begun(Where(target="margin"), task).scores(net)(images)
    torch.testing.assert_close(scores[:, 0], net.classify(images).logsumexp(dim=1))


def test_a_model_without_class_scores_is_refused_in_one_line() -> None:
    images = make_batch().image
    prediction = replace(Toy()(images), class_logits=None)
    with pytest.raises(PluginError, match=r"^Where: this backbone does not classify"):
        begun(Where()).explain(Toy(), images, prediction)
