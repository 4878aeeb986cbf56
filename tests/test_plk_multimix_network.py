from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import captum.attr  # type: ignore[import-untyped]
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plk_support import begun, make_batch, make_task
from torch import Tensor, nn

from plk_multimix.network import FILTERS, MultiMix, MultiMixNet
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Prediction, Task
from pseudolabel_kit.isolate import isolated
from pseudolabel_kit.losses import classification, dice
from pseudolabel_kit.plugin.build import build


def make_net(task: Task | None = None, seed: int = 0, dropout: float = 0.25) -> MultiMixNet:
    torch.manual_seed(seed)
    net = begun(MultiMix(width=0.125, dropout=dropout)).build(task or make_task())
    assert isinstance(net, MultiMixNet)
    return net


def masks_of(prediction: Prediction) -> Tensor:
    return prediction.need_masks("test")


# ── the network ─────────────────────────────────────────────────────────────────────


def test_the_published_widths_and_the_bridge_of_the_first_decoder_block() -> None:
    net = begun(MultiMix()).build(make_task())
    assert isinstance(net, MultiMixNet)

    def filters(blocks: nn.ModuleList) -> list[tuple[object, ...]]:
        found = []
        for block in blocks:
            first, *_, second, _, _ = block.children()
            found.append((first.in_channels, first.out_channels, second.out_channels))
        return found

    assert FILTERS == (16, 32, 64, 128, 256)
    assert filters(net.encoder) == [
        (1, 16, 16),
        (16, 32, 32),
        (32, 64, 64),
        (64, 128, 128),
        (128, 256, 256),
    ]
    assert filters(net.decoder) == [
        (256 + 128 + 2, 128, 128),  # conv5, conv4, image, saliency
        (128 + 64, 64, 64),
        (64 + 32, 32, 32),
        (32 + 16, 16, 16),
    ]
    slopes = {m.negative_slope for m in net.modules() if isinstance(m, nn.LeakyReLU)}
    assert slopes == {0.2}


@pytest.mark.parametrize(("channels", "masks"), [(1, 1), (3, 2)])
def test_shapes(channels: int, masks: int) -> None:
    task = make_task(channels=channels, masks=masks)
    net, images = make_net(task).eval(), make_batch(2, task).image
    prediction = net(images)
    assert prediction.class_logits is not None
    assert prediction.class_logits.shape == (2, 3)
    assert masks_of(prediction).shape == (2, masks, *task.size)
    torch.testing.assert_close(net.classify(images), prediction.class_logits)


def test_the_scale_is_what_the_classifier_reads() -> None:
    net, images = make_net().eval(), make_batch().image
    prediction = net(images)
    (scale,) = prediction.scales
    assert scale.features.shape[-2:] == (2, 2)
    logits = scale.features.mean(dim=(2, 3)) @ scale.weight.T + net.classifier.bias
    torch.testing.assert_close(logits, prediction.class_logits)


@given(seed=st.integers(0, 5), row=st.integers(0, 2))
def test_batchmates_never_change_an_answer(seed: int, row: int) -> None:
    net, images = make_net().eval(), make_batch(seed=seed).image
    together, alone = net(images), net(images[row : row + 1])
    torch.testing.assert_close(masks_of(together)[row], masks_of(alone)[0], atol=1e-4, rtol=1e-3)


def test_dropout_is_for_training_alone() -> None:
    net, images = make_net(), make_batch().image
    assert not torch.equal(masks_of(net(images)), masks_of(net(images)))
    net.eval()
    assert torch.equal(masks_of(net(images)), masks_of(net(images)))
    assert torch.equal(net.classify(images), net.classify(images))


def test_perturbed_features_reach_the_decoder_alone() -> None:
    net, images = make_net().eval(), make_batch().image
    plain, changed = net(images), net(images, lambda features: tuple(2 * f for f in features))
    assert torch.equal(plain.class_logits, changed.class_logits)
    assert torch.equal(plain.scales[0].features, changed.scales[0].features)
    assert not torch.allclose(masks_of(plain), masks_of(changed))


def test_small_images_are_refused() -> None:
    with pytest.raises(ConfigError, match="multimix: images of 16x32 pixels are too small"):
        begun(MultiMix()).build(make_task(size=(16, 32)))
    with pytest.raises(ConfigError, match="16x16"):
        make_net()(torch.zeros(1, 1, 16, 16))


@pytest.mark.parametrize("reference", ["multimix:width=0", "multimix:dropout=1"])
def test_options_out_of_range_are_refused(reference: str) -> None:
    with pytest.raises(ConfigError, match=reference.partition(":")[2]):
        build("backbone", reference)


def test_it_begins_with_little_foreground() -> None:
    bias = make_net().mask_head.get_parameter("bias")
    torch.testing.assert_close(torch.sigmoid(bias), torch.full_like(bias, 0.05))


# ── the bridge ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("channels", [1, 3])
def test_saliency_is_captums(channels: int) -> None:
    task = make_task(channels=channels)
    net, images = make_net(task).eval(), make_batch(3, task).image
    best = net.classify(images).argmax(dim=1)
    expected = captum.attr.Saliency(net.classify).attribute(
        images.clone().requires_grad_(), target=best
    )
    torch.testing.assert_close(net.saliency(images), expected)


def test_saliency_is_the_gradient_of_each_rows_best_score() -> None:
    net, images = make_net().eval(), make_batch().image
    for row, found in zip(images, net.saliency(images), strict=True):
        alone = row[None].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(net.classify(alone).max(), alone)
        torch.testing.assert_close(found, gradient[0].abs(), atol=1e-6, rtol=1e-3)
    assert net.saliency(images).amax() > 0


def test_saliency_is_the_same_with_dropout_around_it() -> None:
    net, images = make_net().train(), make_batch().image
    noisy = net.saliency(images)
    assert torch.equal(net.saliency(images), noisy)
    assert torch.equal(net.eval().saliency(images), noisy)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_bridge_works_where_gradients_are_off(off: Callable[[], object]) -> None:
    net, images = make_net().eval(), make_batch().image
    expected = masks_of(net(images)).detach()
    with isolated(net), off():  # type: ignore[attr-defined]
        prediction = net(images.clone())
    torch.testing.assert_close(masks_of(prediction), expected)
    assert not masks_of(prediction).requires_grad
    assert images.grad is None
    assert all(parameter.grad is None for parameter in net.parameters())


def test_asking_for_a_prediction_touches_no_gradient() -> None:
    net = make_net()
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, 7)
    net(make_batch().image)
    for parameter in net.parameters():
        assert parameter.grad is not None
        assert (parameter.grad == 7).all()


def test_the_mask_loss_never_reaches_the_classifier_through_the_bridge() -> None:
    net, batch = make_net(dropout=0.0), make_batch()
    assert not net.saliency(batch.image).requires_grad
    dice(masks_of(net(batch.image)), batch.mask, batch.has_mask).total.sum().backward()
    assert net.classifier.weight.grad is None
    by_loss = [p.grad for p in net.encoder.parameters()]

    # The very gradients that a bridge of plain numbers gives.
    still, fixed = make_net(dropout=0.0), net.saliency(batch.image)
    still.saliency = lambda images: fixed  # type: ignore[method-assign]
    dice(masks_of(still(batch.image)), batch.mask, batch.has_mask).total.sum().backward()
    for found, parameter in zip(by_loss, still.encoder.parameters(), strict=True):
        torch.testing.assert_close(found, parameter.grad)


@pytest.mark.parametrize("channel", [-2, -1])
def test_the_decoder_reads_image_and_saliency(channel: int) -> None:
    net, images = make_net().eval(), make_batch().image
    weight = net.decoder[0].get_parameter("0.weight")
    before = masks_of(net(images))
    with torch.no_grad():
        weight[:, channel] = 0
    assert not torch.equal(masks_of(net(images)), before)


# ── training ────────────────────────────────────────────────────────────────────────


def test_its_own_loss_is_cross_entropy_and_dice() -> None:
    batch, part = (
        replace(make_batch(), has_mask=torch.tensor([True, False, True])),
        begun(MultiMix()),
    )
    prediction = make_net().eval()(batch.image)
    terms = part.loss(prediction, batch)
    assert set(terms) == {"classification", "segmentation"}
    expected = dice(masks_of(prediction), batch.mask, batch.has_mask)
    assert torch.equal(terms["segmentation"].total, expected.total)
    assert terms["segmentation"].count.tolist() == [1, 0, 1]
    scores = classification(prediction.need_classes("test"), batch.label, batch.has_label)
    assert torch.equal(terms["classification"].total, scores.total)


def test_every_parameter_learns_from_it() -> None:
    net, part, batch = make_net(), begun(MultiMix()), make_batch()
    terms = part.loss(net(batch.image), batch).values()
    torch.stack([term.total.sum() for term in terms]).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_training_lowers_both_terms() -> None:
    net, part, batch = make_net(dropout=0.0), begun(MultiMix()), make_batch()
    batch = replace(batch, mask=torch.zeros_like(batch.mask))
    batch.mask[:, :, :, :8] = 1
    batch = replace(batch, image=0.5 * (batch.image + batch.mask))
    optimiser = torch.optim.Adam(net.parameters(), lr=0.03)
    history = []
    for _ in range(30):
        terms = part.loss(net(batch.image), batch).values()
        values = torch.stack([term.total.sum() / term.count.sum() for term in terms])
        history.append(values.detach())
        optimiser.zero_grad()
        values.sum().backward()
        optimiser.step()
    assert (history[-1] < 0.75 * history[0]).all(), (history[0], history[-1])
