from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plk_support import begun, make_batch, make_task
from tiny import assembled, steps
from torch import Tensor, nn

from plk_baselines.unet import UNet, UNetNet
from pseudolabel_kit.engine.signals import Stop
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Task
from pseudolabel_kit.plugin.build import read_recipe


def net(of: Task | None = None, width: float = 0.0625) -> UNetNet:
    torch.manual_seed(0)
    of = of or make_task()
    model = begun(UNet(width=width), of).build(of)
    assert isinstance(model, UNetNet)
    return model.eval()


def test_the_network_is_the_published_one() -> None:
    model = net(width=1)
    widths = {
        kind: [m.out_channels for m in getattr(model, kind).modules() if isinstance(m, of)]
        for kind, of in (
            ("encoder", nn.Conv2d),
            ("decoder", nn.Conv2d),
            ("up", nn.ConvTranspose2d),
        )
    }
    assert widths == {
        "encoder": [64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024],
        "decoder": [512, 512, 256, 256, 128, 128, 64, 64],
        "up": [512, 256, 128, 64],
    }


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
    with pytest.raises(ConfigError, match=r"unet: images of 31x64 .* at least 32x32"):
        net(make_task(size=(31, 64)))


def test_every_level_is_skipped_to_the_decoder() -> None:
    model, image = net(), make_batch().image
    plain = model(image)
    assert torch.equal(model(image, lambda each: each).mask_logits, plain.mask_logits)
    for level in range(5):

        def zeroed(features: tuple[Tensor, ...], level: int = level) -> tuple[Tensor, ...]:
            return tuple(torch.zeros_like(f) if at == level else f for at, f in enumerate(features))

        assert not torch.equal(model(image, zeroed).mask_logits, plain.mask_logits)


def test_an_untrained_decoder_says_that_lesions_are_rare() -> None:
    assert torch.sigmoid(net().mask_head.bias).item() == pytest.approx(0.05)


def test_the_recipe_trains_every_parameter(tmp_path: Path) -> None:
    loop = assembled(tmp_path, read_recipe("unet"), steps(2))
    before = {name: p.detach().clone() for name, p in loop.learner.named_parameters()}
    assert loop.run(Stop())
    moved = [not torch.equal(p, before[name]) for name, p in loop.learner.named_parameters()]
    assert all(moved)
