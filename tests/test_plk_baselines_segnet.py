from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from plk_support import begun, make_batch, make_task
from tiny import assembled, steps
from torch import Tensor, nn

from plk_baselines.segnet import SegNet, SegNetNet, unpooled
from pseudolabel_kit.engine.signals import Stop
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Task
from pseudolabel_kit.plugin.build import read_recipe


def net(of: Task | None = None, width: float = 0.0625) -> SegNetNet:
    torch.manual_seed(0)
    of = of or make_task()
    model = begun(SegNet(width=width), of).build(of)
    assert isinstance(model, SegNetNet)
    return model.eval()


def bare(levels: int) -> SegNetNet:
    """Pools and unpools alone: what comes out has only moved."""
    model = net(width=1 / 512)
    model.encoder = nn.ModuleList(nn.Identity() for _ in range(levels))
    model.decoder = nn.ModuleList(nn.Identity() for _ in range(levels))
    model.mask_head = nn.Identity()  # type: ignore[assignment]
    return model


def test_the_network_is_the_published_one() -> None:
    model = net(width=1)
    widths = [
        [m.out_channels for m in half.modules() if isinstance(m, nn.Conv2d)]
        for half in (model.encoder, model.decoder)
    ]
    assert widths == [
        [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512],
        [512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64, 64],  # and the mask head
    ]


# ── max-unpooling by the indices ────────────────────────────────────────────────────


def test_a_value_returns_to_where_its_maximum_was() -> None:
    image = torch.tensor([[5.0, 1, 2, 3], [0, 4, 6, 1], [1, 2, 1, 0], [8, 3, 0, 7]])
    expected = torch.tensor([[5.0, 0, 0, 0], [0, 0, 6, 0], [0, 0, 0, 0], [8, 0, 0, 7]])
    assert torch.equal(bare(1)(image[None, None]).mask_logits[0, 0], expected)


@given(row=st.integers(0, 7), column=st.integers(0, 7))
@settings(max_examples=20, deadline=None)
def test_a_point_stays_at_its_pixel_through_three_pools(row: int, column: int) -> None:
    image = torch.zeros(1, 1, 8, 8)
    image[..., row, column] = 1
    answer = bare(3)(image).mask_logits
    assert torch.equal(answer, image)
    pooled = F.max_pool2d(image, 8)
    assert not torch.equal(F.interpolate(pooled, size=(8, 8), mode="nearest"), image)


def test_the_whole_network_reads_the_positions_beside_the_values() -> None:
    """Two images with equal pooled values and maxima elsewhere are decoded differently."""
    model = net()
    model.encoder[0] = nn.Conv2d(1, 4, 1)
    nn.init.ones_(model.encoder[0].weight)
    nn.init.zeros_(model.encoder[0].bias)
    image = torch.zeros(1, 1, 32, 32)
    image[..., ::2, ::2] = torch.rand(16, 16)
    moved = image.roll((1, 1), dims=(2, 3))
    torch.testing.assert_close(F.max_pool2d(image, 2), F.max_pool2d(moved, 2))
    assert not torch.allclose(model(image).mask_logits, model(moved).mask_logits)
    started: list[Tensor] = []
    model(image, lambda each: (started.append(each[0]), each)[1])
    model(moved, lambda each: (started.append(each[0]), each)[1])
    assert torch.equal(*started)


# ── masks ───────────────────────────────────────────────────────────────────────────


@given(
    height=st.integers(32, 70),
    width=st.integers(32, 70),
    channels=st.sampled_from([1, 3]),
    masks=st.sampled_from([1, 2]),
)
@settings(max_examples=8, deadline=None)
def test_masks_alone_at_the_size_of_any_image(
    height: int, width: int, channels: int, masks: int
) -> None:
    of = make_task(channels=channels, masks=masks, size=(height, width))
    prediction = net(of)(make_batch(1, of).image)
    assert prediction.mask_logits.shape == (1, masks, height, width)
    assert prediction.class_logits is None
    assert prediction.scales == ()


def test_too_small_images_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"segnet: images of 64x31 .* at least 32x32"):
        net(make_task(size=(64, 31)))


def test_features_left_alone_change_nothing_and_zeroed_change_masks() -> None:
    model, image = net(), make_batch().image
    plain = model(image).mask_logits
    assert torch.equal(model(image, lambda each: each).mask_logits, plain)
    zeroed = model(image, lambda each: tuple(map(torch.zeros_like, each))).mask_logits
    assert not torch.equal(zeroed, plain)


def test_an_untrained_decoder_says_that_lesions_are_rare() -> None:
    assert torch.sigmoid(net().mask_head.bias).item() == pytest.approx(0.05)


def test_the_recipe_trains_every_parameter(tmp_path: Path) -> None:
    loop = assembled(tmp_path, read_recipe("segnet"), steps(2))
    before = {name: p.detach().clone() for name, p in loop.learner.named_parameters()}
    assert loop.run(Stop())
    moved = [not torch.equal(p, before[name]) for name, p in loop.learner.named_parameters()]
    assert all(moved)


@pytest.mark.filterwarnings("ignore:max_unpooling2d")
def test_unpooling_is_that_of_torch_without_its_warning() -> None:
    maps = torch.rand(2, 3, 9, 12)
    pooled, indices = F.max_pool2d(maps, 2, return_indices=True)
    expected = F.max_unpool2d(pooled, indices, (2, 2), output_size=[9, 12])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(unpooled(pooled, indices, (9, 12)), expected)
