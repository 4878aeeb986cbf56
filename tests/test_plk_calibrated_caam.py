from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from plk_support import Toy, begun, make_batch, make_net, make_prediction

from plk_calibrated.caam import Caam, Cam, minmax
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import Prediction, Scale


def test_levels_count_from_the_shallowest_and_are_averaged() -> None:
    batch, prediction = make_batch(), make_prediction()
    one, two, both = (
        begun(Caam(levels=levels)).explain(Toy(), batch.image, prediction)
        for levels in ((1,), (2,), (1, 2))
    )
    assert not torch.allclose(one, two)
    torch.testing.assert_close(both, (one + two) / 2)
    only = Prediction(
        class_logits=prediction.class_logits,
        mask_logits=prediction.mask_logits,
        scales=prediction.scales[:1],
    )
    assert torch.equal(begun(Caam()).explain(Toy(), batch.image, only), one)


def test_cam_is_of_the_likeliest_lesion_class_or_of_the_predicted_one() -> None:
    class_logits = torch.tensor([[0.0, 1, 3], [2, 0, 1], [0, 1, 0.5]])
    prediction, images = replace(make_prediction(), class_logits=class_logits), make_batch().image
    lesion, predicted = (
        begun(Cam(target=target)).explain(Toy(), images, prediction)
        for target in ("lesion", "predicted")
    )
    same = prediction.class_logits.argmax(dim=1) == 2
    assert same.tolist() == [True, False, False]
    assert torch.equal(lesion[same], predicted[same])
    assert not torch.allclose(lesion[~same], predicted[~same])


@pytest.mark.parametrize("part", [Cam(levels=(3,)), Caam(levels=(1, 3))])
def test_a_level_that_the_model_lacks_is_named(part: Cam | Caam) -> None:
    with pytest.raises(PluginError, match=r"ca+m: levels=.*3: the model has 2 scales"):
        begun(part).explain(Toy(), make_batch().image, make_prediction())


def test_a_model_without_scales_is_told_which_backbone_has_them() -> None:
    images = make_batch().image
    with pytest.raises(PluginError, match="such as vgg-multiscale"):
        begun(Caam()).explain(Toy(), images, Toy()(images))


def test_minmax_spans_0_to_1_and_a_flat_map_is_0() -> None:
    maps = torch.stack([torch.full((1, 4, 4), 7.0), torch.arange(16.0).reshape(1, 4, 4)])
    scaled = minmax(maps)
    assert scaled[0].abs().max() == 0
    assert scaled[1].min() == 0
    assert scaled[1].max().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("detach", [True, False])
def test_the_cam_loss_trains_the_features_and_the_head_unless_detached(detach: bool) -> None:
    net, batch = make_net(), make_batch()
    term = begun(Caam(detach=detach)).loss(net(batch.image), batch)
    assert term is not None
    term.total.sum().backward()
    head = net.heads["conv3"].get_parameter("weight").grad
    assert next(net.encoder.parameters()).grad is not None
    assert (head is None or not head.any()) == detach


def test_the_cam_loss_is_linear_in_alpha_and_one_alpha_serves_all_levels() -> None:
    net, batch = make_net(), make_batch()
    prediction = net(batch.image)
    one = begun(Caam(levels=(1, 2), alpha=(1,))).loss(prediction, batch)
    five = begun(Caam(levels=(1, 2), alpha=(5, 5))).loss(prediction, batch)
    assert one is not None
    assert five is not None
    torch.testing.assert_close(5 * one.total, five.total)


def test_alpha_0_switches_the_cam_loss_off() -> None:
    assert begun(Caam(alpha=(0,))).loss(make_prediction(), make_batch()) is None


def test_descending_the_cam_loss_turns_an_inverted_caam_around() -> None:
    """CAM sees the lesion through channels that CAAM's plain sum cancels."""
    torch.manual_seed(0)
    batch = make_batch(1)
    features = torch.randn(1, 4, 8, 8, requires_grad=True)
    weight = torch.tensor([[-1.0, -1, -1, 0.5]]).expand(3, 4)
    part = begun(Caam())
    optimiser = torch.optim.Adam([features], lr=0.05)
    losses = []
    for _ in range(60):
        scale = Scale(features=features, weight=weight)
        prediction = Prediction(
            class_logits=torch.zeros(1, 3), mask_logits=torch.zeros(1, 1, 8, 8), scales=(scale,)
        )
        term = part.loss(prediction, batch)
        assert term is not None
        losses.append(term.total.sum())
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.5 * losses[0]


def test_the_loss_joins_when_told() -> None:
    ramp = Caam(start="20epochs").loss_ramp()
    assert (ramp.start, ramp.weight) == ("20epochs", 1.0)
    assert Caam(start="20epochs", alpha=(0.0,)).loss_ramp().weight == 0


def test_as_many_alphas_as_levels_or_one() -> None:
    with pytest.raises(ValueError, match="2 weights for 3 levels"):
        Caam(levels=(1, 2, 3), alpha=(5, 5))
