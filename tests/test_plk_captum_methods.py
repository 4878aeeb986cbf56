"""Every method against captum's own call, on networks of one and of three channels."""

from __future__ import annotations

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from captum_support import Classifier, directly, plain
from plk_support import begun, make_batch, make_task
from torch import Tensor

from plk_captum import COMPONENTS
from plk_captum.deeplift import DeepLift
from plk_captum.gradcam import GradCam
from plk_captum.guided_gradcam import GuidedGradCam
from plk_captum.input_x_gradient import InputXGradient
from plk_captum.occlusion import Occlusion
from plk_captum.saliency import Saliency
from pseudolabel_kit.attribution import ClassEvidence, ClassScores, baseline_of
from pseudolabel_kit.isolate import isolated
from pseudolabel_kit.plugin.build import build

LABEL = torch.tensor([0, 2, 1])
CHANNELS = pytest.mark.parametrize("channels", [1, 3])


def images_of(channels: int) -> Tensor:
    return make_batch(3, make_task(channels=channels), seed=1).image


def credit(part: ClassEvidence, net: Classifier, images: Tensor) -> Tensor:
    return begun(part).credit(ClassScores(net), images, LABEL)


@CHANNELS
def test_gradcam(channels: int) -> None:
    net, images = plain(channels), images_of(channels)
    method = captum.attr.LayerGradCam(net.net, net.net[3])
    maps = directly(method, images, LABEL, relu_attributions=True)
    assert maps.shape == (3, 1, 16, 19)
    found = credit(GradCam(), net, images)
    torch.testing.assert_close(found, F.interpolate(maps, (32, 37), mode="bilinear"))


@CHANNELS
def test_saliency_is_the_largest_over_channels(channels: int) -> None:
    net, images = plain(channels), images_of(channels)
    expected = directly(captum.attr.Saliency(net.net), images, LABEL)
    found = credit(Saliency(), net, images)
    assert torch.equal(found[:, 0], expected.max(dim=1).values)


@CHANNELS
def test_input_x_gradient(channels: int) -> None:
    net, images = plain(channels), images_of(channels)
    expected = directly(captum.attr.InputXGradient(net.net), images, LABEL)
    found = credit(InputXGradient(baseline="zero"), net, images)
    torch.testing.assert_close(found, expected)


@CHANNELS
def test_occlusion(channels: int) -> None:
    net, images = plain(channels), images_of(channels)
    expected = directly(
        captum.attr.Occlusion(net.net),
        images,
        LABEL,
        sliding_window_shapes=(channels, 8, 9),
        strides=(channels, 4, 4),
        baselines=baseline_of(images, "blur"),
    )
    torch.testing.assert_close(credit(Occlusion(), net, images), expected)


@CHANNELS
def test_deeplift(channels: int) -> None:
    net, images = plain(channels), images_of(channels)
    base = baseline_of(images, "blur")
    expected = directly(captum.attr.DeepLift(net.net), images, LABEL, baselines=base)
    torch.testing.assert_close(credit(DeepLift(), net, images), expected)


@CHANNELS
def test_guided_gradcam(channels: int) -> None:
    net, images = plain(channels), images_of(channels)
    method = captum.attr.GuidedGradCam(net.net, net.net[3])
    expected = directly(method, images, LABEL, interpolate_mode="bilinear")
    assert expected.any()
    torch.testing.assert_close(credit(GuidedGradCam(), net, images), expected)


@pytest.mark.parametrize("name", [component.name for component in COMPONENTS])
@pytest.mark.parametrize(
    ("backbone", "channels", "side"),
    [("vgg-multiscale:width=0.1", 1, 32), ("smp:encoder=resnet18", 3, 65)],
)
def test_all_run_by_name(name: str, backbone: str, channels: int, side: int) -> None:
    task = make_task(channels=channels, size=(side, side))
    torch.manual_seed(1)
    net, images = begun(build("backbone", backbone), task).build(task), make_batch(2, task).image
    part = begun(build("explainer", name), task)
    with isolated(net), torch.no_grad():
        found = part.explain(net, images, net(images))
    assert found.shape == (2, 1, side, side)
    assert found.isfinite().all()
    assert found.any()


def test_only_gradcam_is_a_class_map() -> None:
    families = {c.name: build("explainer", c.name).family for c in COMPONENTS}
    assert {name for name, family in families.items() if family == "class-map"} == {"gradcam"}


@pytest.mark.parametrize("part", [DeepLift(), GuidedGradCam(), GradCam()], ids=repr)
def test_what_looks_inside_leaves_no_attribute_and_no_copy_of_a_weight(part: ClassEvidence) -> None:
    net, images = plain(), images_of(1)
    before = [(m, dict(vars(m))) for m in net.modules()]
    weights = [(id(p), p.clone()) for p in net.parameters()]
    credit(part, net, images)
    assert [(m, dict(vars(m))) for m in net.modules()] == before
    assert all(
        id(p) == at and torch.equal(p, old)
        for p, (at, old) in zip(net.parameters(), weights, strict=True)
    )
