from __future__ import annotations

from dataclasses import replace

import captum.attr
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plk_support import Toy, begun, make_batch, make_task
from torch import Tensor, nn

from plk_baselines.hu2020 import Hu2020, HuNet, class_maps, integrated_gradients
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.evidence import to_evidence
from pseudolabel_kit.interfaces import Task


def make_hu(
    task: Task | None = None, *, steps: int = 1, threshold: float = 0.3
) -> tuple[Hu2020, HuNet]:
    torch.manual_seed(0)
    part = begun(Hu2020(width=0.1, steps=steps, threshold=threshold), task)
    net = part.build(task or make_task())
    assert isinstance(net, HuNet)
    return part, net.eval()


def always(net: HuNet, label: int) -> HuNet:
    """The network, made to predict one class."""
    bias = net.heads[0].get_parameter("bias")
    with torch.no_grad():
        bias[label] += 1000
    return net


@given(
    height=st.integers(32, 70),
    width=st.integers(32, 70),
    channels=st.sampled_from([1, 3]),
    masks=st.sampled_from([1, 2]),
)
@settings(max_examples=6, deadline=None)
def test_any_size_from_32_gives_masks_of_that_size(
    height: int, width: int, channels: int, masks: int
) -> None:
    task = make_task(channels=channels, masks=masks, size=(height, width))
    prediction = make_hu(task)[1](make_batch(2, task).image)
    assert prediction.need_classes("test").shape == (2, 3)
    assert prediction.need_masks("test").shape == (2, masks, height, width)
    sides = [scale.features.shape[-2:] for scale in prediction.scales]
    assert sides == [(height // n, width // n) for n in (4, 8, 16)]


def test_too_small_images_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"hu2020: images of 31x64 .* at least 32x32"):
        begun(Hu2020()).build(make_task(size=(31, 64)))
    with pytest.raises(ConfigError, match="at least 32x32"):
        make_hu()[1].classify(torch.zeros(1, 1, 64, 31))


def test_the_network_is_the_published_one() -> None:
    net = begun(Hu2020()).build(make_task())
    assert isinstance(net, HuNet)
    filters = [
        [c.out_channels for c in block.modules() if isinstance(c, nn.Conv2d)]
        for block in net.blocks
    ]
    assert filters == [[32] * 2, [64] * 2, [128] * 3, [256] * 3, [256] * 3]


def test_class_logits_are_the_summed_maxima_of_three_maps() -> None:
    _, net = make_hu()
    prediction = net(make_batch().image)
    expected = torch.zeros(3, 3)
    for scale, head in zip(prediction.scales, net.heads, strict=True):
        maps = torch.einsum("nd,bdhw->bnhw", scale.weight, scale.features)
        expected += maps.amax(dim=(2, 3)) + head.get_parameter("bias")
    torch.testing.assert_close(prediction.class_logits, expected)


# ── weakly supervised ───────────────────────────────────────────────────────────────


def test_in_train_mode_there_are_no_masks() -> None:
    _, net = make_hu()
    assert net.train()(make_batch().image).mask_logits is None


def test_masks_change_no_gradient() -> None:
    part, net = make_hu()
    net.train()
    batch = make_batch(4)
    gradients = []
    for mask in (batch.mask, 1 - batch.mask):
        net.zero_grad()
        terms = part.loss(net(batch.image), replace(batch, mask=mask))
        assert list(terms) == ["classification"]
        terms["classification"].total.sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(list(net.parameters()))
    assert all(one.any() and torch.equal(one, two) for one, two in zip(*gradients, strict=True))


def test_masks_carry_no_gradient_and_leave_grad_alone() -> None:
    _, net = make_hu()
    images = make_batch().image.requires_grad_()
    masks = net(images).need_masks("test")
    assert not masks.requires_grad
    assert images.grad is None
    assert all(parameter.grad is None for parameter in net.parameters())


def test_masks_are_the_same_wherever_gradients_are_off() -> None:
    _, net = make_hu()
    always(net, 2)
    images = make_batch().image
    expected = net(images).need_masks("test")
    with torch.no_grad():
        torch.testing.assert_close(net(images).need_masks("test"), expected)
    with torch.inference_mode():
        inside = net(images.clone()).need_masks("test")
    torch.testing.assert_close(inside.clone(), expected)
    net.requires_grad_(False)
    torch.testing.assert_close(net(images).need_masks("test"), expected)


# ── masks from saliency ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.7])
def test_a_pixel_is_lesion_where_joint_saliency_reaches_the_share(threshold: float) -> None:
    _, net = make_hu(steps=2, threshold=threshold)
    always(net, 2)
    images, label = make_batch().image, torch.full((3,), 2)
    prediction = net(images)
    saliency = to_evidence(integrated_gradients(net.classify, images, label, 2))
    joint = saliency * class_maps(prediction.scales, label, images)
    share = joint / joint.amax(dim=(2, 3), keepdim=True)
    masks = prediction.need_masks("test")
    assert torch.equal(masks >= 0, share >= threshold)
    assert masks.isfinite().all()
    assert (masks >= 0).any(dim=3).any(dim=2).all()


def test_a_higher_threshold_marks_fewer_pixels() -> None:
    images = make_batch().image
    low, high = (
        always(make_hu(threshold=t)[1], 2)(images).need_masks("test") >= 0 for t in (0.1, 0.6)
    )
    assert (high <= low).all()
    assert high.sum() < low.sum()


@pytest.mark.parametrize("label", [0, 1])
def test_images_of_other_classes_have_no_lesion(label: int) -> None:
    masks = always(make_hu()[1], label)(make_batch().image).need_masks("test")
    assert (masks < 0).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_flat_image_gives_finite_masks(value: float) -> None:
    prediction = always(make_hu()[1], 2)(torch.full((1, 1, 32, 37), value))
    assert prediction.need_masks("test").isfinite().all()
    if value == 0:  # input times gradient credits nothing to black
        assert (prediction.need_masks("test") < 0).all()


def test_rows_do_not_see_each_other() -> None:
    _, net = make_hu()
    always(net, 2)
    images = make_batch().image
    both, alone = net(images), net(images[1:2])
    torch.testing.assert_close(both.mask_logits[1:2], alone.mask_logits, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("steps", [2, 5])
def test_integrated_gradients_agree_with_captum(steps: int) -> None:
    _, net = make_hu()
    images, label = make_batch().image, torch.tensor([0, 1, 2])
    expected = captum.attr.IntegratedGradients(net.classify).attribute(
        images, target=label, n_steps=steps, method="riemann_right", internal_batch_size=3
    )
    found = integrated_gradients(net.classify, images, label, steps)
    torch.testing.assert_close(found, expected.to(found), atol=1e-5, rtol=1e-4)


def test_integrated_gradients_by_hand() -> None:
    images: Tensor = torch.tensor([[[[0.5, 1.0]]]])
    found = integrated_gradients(Toy().classify, images, torch.tensor([1]), 2)
    # F = 2 x^3: x (6 (x/2)^2 + 6 x^2) / 2 = 3.75 x^3
    torch.testing.assert_close(found, 3.75 * images**3)
