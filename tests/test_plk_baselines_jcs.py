from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plk_support import begun, make_batch, make_task
from torch import Tensor, nn

from plk_baselines.jcs import AttentiveFusion, GroupedDilation, Jcs, JcsNet, bce_and_dice
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Prediction, Task
from pseudolabel_kit.losses import dice, segmentation

WIDTH = 0.0625
TASK = make_task(size=(64, 67))


def make_jcs(task: Task = TASK) -> tuple[Jcs, JcsNet]:
    torch.manual_seed(0)
    part = begun(Jcs(width=WIDTH), task)
    net = part.build(task)
    assert isinstance(net, JcsNet)
    return part, net


def total(part: Jcs, prediction: Prediction, task: Task = TASK) -> Tensor:
    terms = part.loss(prediction, make_batch(4, task))
    return torch.stack([term.total.sum() for term in terms.values()]).sum()


@given(
    height=st.integers(32, 70),
    width=st.integers(32, 70),
    channels=st.sampled_from([1, 3]),
    masks=st.sampled_from([1, 2]),
)
@settings(max_examples=4, deadline=None)
def test_any_size_from_32_gives_masks_of_that_size_and_four_coarser_sides(
    height: int, width: int, channels: int, masks: int
) -> None:
    task = make_task(channels=channels, masks=masks, size=(height, width))
    net = make_jcs(task)[1].eval()
    prediction = net(make_batch(1, task).image)
    assert prediction.need_classes("test").shape == (1, 3)
    assert prediction.need_masks("test").shape == (1, masks, height, width)
    assert [side.shape for side in prediction.sides] == [
        (1, masks, height // n, width // n) for n in (2, 4, 8, 16)
    ]


@pytest.mark.parametrize("size", [(31, 64), (64, 31)])
def test_too_small_images_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"jcs: images of .*31.*at least 32x32"):
        begun(Jcs()).build(make_task(size=size))
    net = make_jcs()[1]
    for ask in (net, net.classify):
        with pytest.raises(ConfigError, match="at least 32x32"):
            ask(torch.zeros(1, 1, *size))


def test_the_encoders_are_those_of_vgg16_and_res2net50() -> None:
    with torch.device("meta"):
        net = JcsNet(1, 3, 1, width=1.0)
    filters = [
        [c.out_channels for c in stage.modules() if isinstance(c, nn.Conv2d)]
        for stage in net.encoder
    ]
    assert filters == [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3]
    assert [len(net.branch.get_submodule(f"layer{n}")) for n in (1, 2, 3, 4)] == [3, 4, 6, 3]  # type: ignore[arg-type]
    assert net.branch.num_features == 2048


def test_the_classifiers_features_enhance_the_segmentation() -> None:
    net, images = make_jcs()[1].train(), make_batch(2, TASK).image
    before = net(images).need_masks("test")
    for parameter in net.branch.parameters():
        nn.init.zeros_(parameter)
    after = net(images)
    assert not after.need_classes("test").any()
    assert (after.need_masks("test") - before).abs().mean() > 0.01


def test_masks_train_the_classifiers_features_but_not_its_head() -> None:
    part, net = make_jcs()
    terms = part.loss(net(make_batch(4, TASK).image), make_batch(4, TASK))
    terms["segmentation"].total.sum().backward()
    assert net.branch.conv1[0].weight.grad.any()  # type: ignore[index, union-attr]
    assert net.branch.get_classifier().weight.grad is None


def test_all_five_outputs_are_supervised_by_bce_and_dice() -> None:
    part, net = make_jcs()
    batch = make_batch(4, TASK)
    terms = part.loss(net(batch.image), batch)
    assert list(terms) == ["classification", "segmentation", "segmentation.sides"]
    (terms["segmentation"].total.sum() + terms["segmentation.sides"].total.sum()).backward()
    assert len(net.heads) == 5
    assert all(head.weight.grad.any() for head in net.heads)  # type: ignore[operator, union-attr]


def test_the_sides_term_is_the_sum_of_the_coarser_maps_losses() -> None:
    part, net = make_jcs()
    batch = make_batch(4, TASK)
    prediction = net(batch.image)
    expected = sum(bce_and_dice(side, batch, 0.5).total for side in prediction.sides)
    torch.testing.assert_close(part.loss(prediction, batch)["segmentation.sides"].total, expected)


def test_bce_and_dice_is_their_sum_at_the_masks_size() -> None:
    batch = make_batch(2, TASK)
    logits = torch.full((2, 1, 4, 4), 0.7)
    large = torch.full((2, 1, 64, 67), 0.7)
    expected = (
        segmentation(large, batch.mask, batch.has_mask, 0.5).total
        + dice(large, batch.mask, batch.has_mask).total
    )
    torch.testing.assert_close(bce_and_dice(logits, batch, 0.5).total, expected)


def test_class_maps_agree_with_the_class_logits() -> None:
    net = make_jcs()[1].eval()
    prediction = net(make_batch(2, TASK).image)
    (scale,) = prediction.scales
    maps = torch.einsum("nd,bdhw->bnhw", scale.weight, scale.features)
    expected = maps.mean(dim=(2, 3)) + net.branch.get_classifier().bias
    torch.testing.assert_close(prediction.class_logits, expected)


def test_classify_agrees_with_forward_and_does_not_segment() -> None:
    net, images = make_jcs()[1].eval(), make_batch(2, TASK).image
    expected = net(images).class_logits
    net.encoder, net.decoder = nn.ModuleList(), nn.ModuleList()  # would fail if they ran
    torch.testing.assert_close(net.classify(images), expected)


def test_fusion_weighs_channels_by_its_attention() -> None:
    torch.manual_seed(0)
    fusion = AttentiveFusion(2, 4).train()
    own, guest = torch.rand(1, 1, 5, 5), torch.rand(1, 1, 2, 2)
    other = torch.rand(1, 1, 2, 2)
    assert not torch.equal(fusion(own, guest), fusion(own, other))
    fusion.attention = _Mute()
    assert torch.equal(fusion(own, guest), fusion(own, other))


class _Mute(nn.Module):
    """Attention that lets only the first channel through."""

    def forward(self, both: Tensor) -> Tensor:
        return both * torch.tensor([1.0, 0.0])[:, None, None]


def test_each_group_of_the_pyramid_has_its_own_reach() -> None:
    for group, rate in zip(GroupedDilation(4).groups, (1, 3, 6, 9), strict=True):
        impulse = torch.zeros(1, 2, 33, 33, requires_grad=True)
        convolution = group[0]  # type: ignore[index]
        convolution(impulse)[0, :, 16, 16].sum().backward()
        assert impulse.grad is not None
        rows = impulse.grad[0].abs().sum(dim=(0, 1)).nonzero()[:, 0]
        assert rows.tolist() == [16 - rate, 16, 16 + rate]


def test_every_parameter_moves() -> None:
    part, net = make_jcs()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):  # timm begins residual branches at 0, which holds back one gradient
        optimiser.zero_grad()
        total(part, net(make_batch(4, TASK).image)).backward()
        optimiser.step()
    assert [name for name, p in net.named_parameters() if torch.equal(p, before[name])] == []


def test_rows_without_label_or_mask_teach_nothing() -> None:
    part, net = make_jcs()
    batch = make_batch(4, TASK)
    none = torch.zeros(4, dtype=torch.bool)
    terms = part.loss(
        net(batch.image),
        type(batch)(
            image=batch.image, label=batch.label, mask=batch.mask, has_label=none, has_mask=none
        ),
    )
    assert not any(term.total.any() or term.count.any() for term in terms.values())
