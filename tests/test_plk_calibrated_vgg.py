from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plk_support import begun, make_batch, make_net, make_task
from torch import nn

from plk_calibrated.vgg import Pool, VggMultiscale, VggNet, pooled
from pseudolabel_kit.errors import ConfigError


@given(
    height=st.integers(32, 70),
    width=st.integers(32, 70),
    channels=st.sampled_from([1, 3]),
    masks=st.sampled_from([1, 2]),
)
@settings(max_examples=8, deadline=None)
def test_any_size_from_32_gives_masks_of_that_size(
    height: int, width: int, channels: int, masks: int
) -> None:
    task = make_task(channels=channels, masks=masks, size=(height, width))
    prediction = make_net(task)(make_batch(1, task).image)
    assert prediction.class_logits.shape == (1, 3)
    assert prediction.mask_logits.shape == (1, masks, height, width)
    sides = [scale.features.shape[-2:] for scale in prediction.scales]
    assert sides == [(height // n, width // n) for n in (4, 8, 16)]


@pytest.mark.parametrize("size", [(31, 64), (64, 31)])
def test_too_small_images_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"31.*at least 32x32"):
        begun(VggMultiscale()).build(make_task(size=size))
    with pytest.raises(ConfigError, match="at least 32x32"):
        make_net().classify(torch.zeros(1, 1, *size))


def test_the_network_is_the_papers() -> None:
    net = begun(VggMultiscale()).build(make_task())
    assert isinstance(net, VggNet)
    convolutions = {
        name: [c.out_channels for c in block.modules() if isinstance(c, nn.Conv2d)]
        for name, block in net.encoder.items()
    }
    assert convolutions == {
        "conv1": [32] * 2,
        "conv2": [64] * 2,
        "conv3": [128] * 3,
        "conv4": [256] * 3,
        "conv5": [256] * 3,
    }
    assert list(net.heads) == ["conv3", "conv4", "conv5"]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def test_class_logits_are_the_maxima_of_the_cams_plus_the_heads_bias() -> None:
    net, images = make_net(), make_batch().image
    prediction = net(images)
    expected = torch.zeros(3, 3)
    for scale, head in zip(prediction.scales, net.heads.values(), strict=True):
        maps = torch.einsum("nd,bdhw->bnhw", scale.weight, scale.features)
        expected += maps.amax(dim=(2, 3)) + head.get_parameter("bias")
    torch.testing.assert_close(prediction.class_logits, expected)


@pytest.mark.parametrize("pool", ["mean", "lme"])
def test_another_pool_is_that_of_every_scale(pool: Pool) -> None:
    net = begun(VggMultiscale(width=0.1, pool=pool)).build(make_task())
    assert isinstance(net, VggNet)
    images = make_batch(2).image
    answer = net(images)
    heads = zip(net.heads.values(), answer.scales, strict=True)
    scores = torch.stack([pooled(head(scale.features), pool) for head, scale in heads]).sum(dim=0)
    torch.testing.assert_close(answer.class_logits, scores)
    torch.testing.assert_close(net.classify(images), scores)


def test_multiscale_false_classifies_conv5_alone() -> None:
    net = make_net(multiscale=False)
    assert list(net.heads) == ["conv5"]
    (scale,) = net(make_batch().image).scales
    assert scale.features.shape[-2:] == (2, 2)


def test_classify_agrees_with_forward_and_does_not_decode() -> None:
    net, images = make_net(), make_batch().image
    expected = net(images).class_logits
    net.decoder, net.mask_head = nn.ModuleDict(), nn.Conv2d(1, 1, 1)  # would fail if it ran
    assert torch.equal(net.classify(images), expected)


def test_an_untrained_decoder_says_that_lesions_are_rare() -> None:
    bias = make_net().mask_head.get_parameter("bias")
    assert torch.sigmoid(bias).item() == pytest.approx(0.05)


def test_every_parameter_is_trained() -> None:
    net = make_net()
    prediction = net(make_batch().image)
    (prediction.class_logits.square().sum() + prediction.mask_logits.square().sum()).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_rows_do_not_see_each_other_in_training_either() -> None:
    net, images = make_net().train(), make_batch().image
    both, alone = net(images), net(images[1:2])
    torch.testing.assert_close(both.mask_logits[1:2], alone.mask_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(both.class_logits[1:2], alone.class_logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_flat_image_gives_finite_answers(value: float) -> None:
    prediction = make_net()(torch.full((1, 1, 32, 37), value))
    assert prediction.class_logits.isfinite().all()
    assert prediction.mask_logits.isfinite().all()
