"""What every shipped explainer owes: evidence in range, from its own image, leaving no trace."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plk_support import explainers, make_batch, make_net, make_task
from test_isolate import state
from torch import nn

from plk_calibrated.vgg import VggNet
from pseudolabel_kit.interfaces import Explainer, Prediction
from pseudolabel_kit.isolate import isolated

PARTS = pytest.mark.parametrize("part", explainers(), ids=repr)


def explain(part: Explainer, net: VggNet, images: torch.Tensor) -> torch.Tensor:
    with isolated(net):
        return part.explain(net, images, predict(net, images))


@torch.no_grad()
def predict(net: VggNet, images: torch.Tensor) -> Prediction:
    prediction = net(images)
    assert isinstance(prediction, Prediction)
    return prediction


@PARTS
@pytest.mark.parametrize("rows", [1, 3])
def test_evidence_is_in_range_detached_and_not_flat(part: Explainer, rows: int) -> None:
    images = make_batch(rows).image
    found = explain(part, make_net(), images)
    assert found.shape == (rows, 1, *images.shape[-2:])
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert found.min() >= 0
    assert found.max() <= 1
    assert (found.amax(dim=(1, 2, 3)) - found.amin(dim=(1, 2, 3)) > 0.3).all()


@PARTS
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_flat_images_give_finite_evidence(part: Explainer, value: float) -> None:
    found = explain(part, make_net(), torch.full((2, 1, 32, 37), value))
    assert found.isfinite().all()
    assert found.min() >= 0
    assert found.max() <= 1


@PARTS
def test_colour_images(part: Explainer) -> None:
    task = make_task(channels=3)
    images = make_batch(2, task).image
    assert explain(part, make_net(task), images).shape == (2, 1, *task.size)


@PARTS
@given(seed=st.integers(0, 9), row=st.integers(0, 2))
@settings(max_examples=4, deadline=None)
def test_batchmates_never_change_evidence(part: Explainer, seed: int, row: int) -> None:
    net, images = make_net(), make_batch(3, seed=seed).image
    together = explain(part, net, images)[row]
    alone = explain(part, net, images[row : row + 1])[0]
    torch.testing.assert_close(together, alone, atol=2e-3, rtol=0)


@PARTS
def test_the_model_is_left_as_it_was_even_when_nobody_isolates_it(part: Explainer) -> None:
    net, images = make_net(), make_batch().image
    net.encoder["conv1"].eval()
    net.mask_head.register_buffer("sentinel", torch.ones(2))
    net.get_parameter("mask_head.bias").requires_grad_(False)
    weight = net.get_parameter("heads.conv3.weight")
    weight.grad = torch.full_like(weight, 7)
    net.register_forward_hook(lambda *_: None)
    before = state(net)
    prediction = predict(net, images)
    part.explain(net, images, prediction)
    part.diagnose(net, images, prediction)
    assert state(net) == before
    assert images.grad is None
    assert not images.requires_grad


@PARTS
def test_it_works_where_gradients_are_switched_off(part: Explainer) -> None:
    net, images = make_net(), make_batch().image
    expected = explain(part, net, images)
    with torch.no_grad():
        torch.testing.assert_close(explain(part, net, images), expected)


@PARTS
def test_mixed_precision_changes_evidence_little(part: Explainer) -> None:
    net, images = make_net(), make_batch().image
    expected = explain(part, net, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = explain(part, net, images)
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] > 0.6


@PARTS
def test_evidence_follows_the_image_under_a_flip(part: Explainer) -> None:
    """A network whose filters are symmetric must be explained alike in the mirror."""
    task = make_task(size=(32, 32))
    net = make_net(task)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = (module.weight.data + module.weight.data.flip(3)) / 2
    images = make_batch(2, task).image
    mirrored = explain(part, net, images.flip(3)).flip(3)
    torch.testing.assert_close(mirrored, explain(part, net, images), atol=5e-3, rtol=0)
