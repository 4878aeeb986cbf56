from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plk_support import begun, make_batch, make_task
from safetensors.torch import save_file
from torch import Tensor, nn

from plk_baselines.inf_net import InfNet, InfNetwork
from plk_baselines.refine import FieldBlock, PartialDecoder, ReverseAttention, unfound
from plk_baselines.structure import border_weight, edges, structure
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Task

TASK = make_task(size=(64, 67))
TINY = InfNet(encoder="test_resnet", width=4)
SEEN = torch.ones(1, dtype=torch.bool)


def make_inf_net(task: Task = TASK, part: InfNet = TINY) -> tuple[InfNet, InfNetwork]:
    torch.manual_seed(0)
    begun(part, task)
    net = part.build(task)
    assert isinstance(net, InfNetwork)
    return part, net


def grid(*rows: str) -> Tensor:
    """A mask (1,1,H,W) from rows of '#' and '.'."""
    return torch.tensor([[c == "#" for c in row] for row in rows]).float()[None, None]


# ── the network ─────────────────────────────────────────────────────────────────────


@given(
    height=st.integers(32, 70),
    width=st.integers(32, 70),
    channels=st.sampled_from([1, 3]),
    masks=st.sampled_from([1, 2]),
)
@settings(max_examples=4, deadline=None)
def test_any_size_from_32_gives_masks_of_that_size_and_no_classes(
    height: int, width: int, channels: int, masks: int
) -> None:
    task = make_task(channels=channels, masks=masks, size=(height, width))
    prediction = make_inf_net(task)[1].eval()(make_batch(1, task).image)
    assert prediction.class_logits is None
    assert prediction.scales == ()
    assert prediction.need_masks("test").shape == (1, masks, height, width)
    sizes = [side.shape[-2:] for side in prediction.sides]
    assert sizes == [(-(-height // n), -(-width // n)) for n in (4, 8, 32, 16)]


def test_the_published_encoder_is_the_default() -> None:
    assert InfNet() == InfNet(encoder="res2net50_26w_4s", width=32)


def test_an_encoder_of_another_family_fits() -> None:
    net = make_inf_net(part=InfNet(encoder="mobilenetv3_small_050", width=4))[1].eval()
    assert net(make_batch(1, TASK).image).need_masks("test").shape == (1, 1, 64, 67)


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        ("resnet81", "timm has no such model (did you mean 'resnet"),
        ("convnext_atto", "its maps are at 1/4, 1/8, 1/16, 1/32: expected 1/2, 1/4"),
    ],
)
def test_encoders_that_do_not_fit_are_refused(encoder: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        begun(InfNet(encoder=encoder), TASK).build(TASK)
    assert str(refusal.value).startswith(f"inf-net: encoder={encoder}: ")
    assert expected in str(refusal.value)


@pytest.mark.parametrize("channels", [1, 3])
def test_pretrained_weights_fill_the_encoder_and_normalise_its_images(
    tmp_path: Path, channels: int
) -> None:
    torch.manual_seed(1)
    theirs = timm.create_model("test_resnet", features_only=True).eval()
    save_file(dict(theirs.state_dict()), tmp_path / "w.safetensors")
    part = replace(TINY, pretrained=str(tmp_path / "w.safetensors"))
    task = make_task(channels=channels, size=(64, 64))
    net = make_inf_net(task, part)[1].eval()
    part.pretrain(net)
    image = make_batch(1, task).image
    normal = net.normalise(image)
    assert not torch.equal(normal, image)
    expected = theirs(normal.expand(-1, 3, -1, -1))
    for one, other in zip(net.encoder(normal), expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_too_small_images_are_refused() -> None:
    with pytest.raises(ConfigError, match="31x64 pixels are too small: expected at least 32x32"):
        begun(TINY).build(make_task(size=(31, 64)))
    with pytest.raises(ConfigError, match="at least 32x32"):
        make_inf_net()[1](torch.zeros(1, 1, 64, 31))


def test_the_edge_branch_feeds_every_refinement() -> None:
    net, images = make_inf_net()[1].eval(), make_batch(1, TASK).image
    before = net(images)
    nn.init.zeros_(net.edge[0][0].weight)  # type: ignore[index, arg-type]
    after = net(images)
    assert torch.equal(before.sides[1], after.sides[1])  # the partial decoder sees no edges
    for one, other in zip(before.sides[2:], after.sides[2:], strict=True):
        assert not torch.equal(one, other)


def test_every_parameter_moves() -> None:
    part, net = make_inf_net()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):  # timm begins residual branches at 0, which holds back one gradient
        optimiser.zero_grad()
        batch = make_batch(4, TASK)
        terms = part.loss(net(batch.image), batch)
        torch.stack([term.total.sum() for term in terms.values()]).sum().backward()
        optimiser.step()
    assert [name for name, p in net.named_parameters() if torch.equal(p, before[name])] == []


# ── reverse attention ───────────────────────────────────────────────────────────────


def test_unfound_is_what_the_coarser_map_leaves_over() -> None:
    logits = torch.tensor([0.0, 2.0, -2.0]).view(1, 1, 1, 3)
    expected = torch.tensor([0.5, 0.11920292, 0.88079708]).view(1, 1, 1, 3)
    torch.testing.assert_close(unfound(logits), expected)
    both = torch.cat((logits, -logits), dim=1)  # found in any channel is found
    torch.testing.assert_close(unfound(both)[0, 0, 0], torch.tensor([0.5, 0.1192029, 0.1192029]))


def test_reverse_attention_shows_features_where_nothing_was_found_and_edges_everywhere() -> None:
    stage = ReverseAttention(4, 4, 1).eval()
    seen: list[Tensor] = []
    stage.correct.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    coarser = torch.full((1, 1, 4, 4), -60.0)
    coarser[..., 2:] = 60.0
    features, edge = torch.rand(1, 2, 4, 4), torch.rand(1, 2, 4, 4)
    refined = stage(features, edge, coarser)
    torch.testing.assert_close(seen[0][:, :2, :, :2], features[..., :2])
    assert not seen[0][:, :2, :, 2:].any()
    torch.testing.assert_close(seen[0][:, 2:], edge)
    torch.testing.assert_close(refined, coarser + stage.correct(seen[0]))


def test_a_coarser_map_of_another_size_is_brought_to_the_features() -> None:
    stage = ReverseAttention(3, 4, 3).eval()
    edge, coarser = torch.rand(2, 1, 9, 4), torch.rand(2, 3, 3, 2)
    assert stage(torch.rand(2, 2, 7, 5), edge, coarser).shape == (2, 3, 7, 5)


def test_the_partial_decoder_silences_what_the_deep_map_does_not_confirm() -> None:
    decoder = PartialDecoder(2).eval()
    seen: list[Tensor] = []
    decoder.mixes[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    shallow, middle, deep = (torch.rand(1, 2, side, side) for side in (8, 4, 2))
    assert decoder(shallow, middle, deep).shape == (1, 6, 8, 8)
    assert not torch.equal(seen[0][:, :2], torch.zeros(1, 2, 8, 8))
    decoder.gates[1] = nn.ReLU()
    decoder(shallow, middle, torch.zeros_like(deep))
    assert not seen[1][:, :2].any()


def test_the_field_block_sees_far() -> None:
    torch.manual_seed(0)
    block = FieldBlock(1, 4).eval()
    impulse = torch.rand(1, 1, 41, 41, requires_grad=True)
    block(impulse)[0, :, 20, 20].sum().backward()
    assert impulse.grad is not None
    columns = impulse.grad[0, 0].abs().sum(dim=0).nonzero()
    assert int(columns.max()) - 20 > 7  # 3 by the 1x7, 7 by the dilation, 1 by the mix


# ── the losses ──────────────────────────────────────────────────────────────────────


def test_edges_are_the_masks_own_border() -> None:
    mask = grid("......", ".####.", ".####.", ".####.", "......")
    assert torch.equal(edges(mask), grid("......", ".####.", ".#..#.", ".####.", "......"))


def test_beyond_the_image_is_no_edge() -> None:
    assert not edges(torch.ones(1, 1, 4, 4)).any()
    assert torch.equal(edges(grid("##..", "##..", "##..")), grid(".#..", ".#..", ".#.."))


def test_border_weights_by_hand() -> None:
    weight = border_weight(grid("....", ".#..", "....", "...."), window=3)
    assert weight[0, 0, 1, 1].item() == pytest.approx(1 + 5 * (1 - 1 / 9))
    assert weight[0, 0, 0, 0].item() == pytest.approx(1 + 5 / 4)  # 4 pixels in the image
    assert weight[0, 0, 0, 1].item() == pytest.approx(1 + 5 / 6)
    assert weight[0, 0, 3, 3].item() == pytest.approx(1)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_even_mask_has_no_border_to_weigh(value: float) -> None:
    weight = border_weight(torch.full((1, 1, 40, 40), value))
    torch.testing.assert_close(weight, torch.ones(1, 1, 40, 40))


def test_the_structure_loss_by_hand() -> None:
    mask = grid("#.")  # in a window of 31 both pixels see the mean 1/2: weights 3.5
    logits = torch.tensor([[[[0.0, 0.0]]]])
    bce = 0.5 * (0.693147 + 0.5 * 0.693147)
    iou = (3.5 * 0.5 + 1) / (3.5 * (1.5 + 0.5) - 3.5 * 0.5 + 1)
    found = structure(logits, mask, SEEN, background_weight=0.5)
    assert found.total.item() == pytest.approx(bce + 1 - iou, abs=1e-5)
    assert found.count.item() == 1


def test_a_perfect_answer_costs_nothing_and_rows_without_mask_neither() -> None:
    for mask in (grid("#..", "#..", "..."), torch.zeros(1, 1, 3, 3)):
        logits = 200 * (mask - 0.5)
        assert structure(logits, mask, SEEN, 1.0).total.item() == pytest.approx(0, abs=1e-6)
        unseen = structure(-logits, mask, ~SEEN, 1.0)
        assert unseen.total.item() == unseen.count.item() == 0


def test_the_terms_are_four_maps_and_the_edge() -> None:
    part, net = make_inf_net()
    batch = make_batch(3, TASK)
    prediction = net(batch.image)
    terms = part.loss(prediction, batch)
    assert list(terms) == ["segmentation", "segmentation.sides", "segmentation.edge"]
    assert len(prediction.sides) == 4

    large = [
        nn.functional.interpolate(side, size=TASK.size, mode="bilinear")
        for side in prediction.sides
    ]
    sides = [structure(side, batch.mask, batch.has_mask, 0.5).total for side in large[1:]]
    torch.testing.assert_close(terms["segmentation.sides"].total, torch.stack(sides).sum(dim=0))
    edge = nn.functional.binary_cross_entropy_with_logits(
        large[0], edges(batch.mask), reduction="none"
    )
    torch.testing.assert_close(terms["segmentation.edge"].total, edge.mean(dim=(1, 2, 3)))
