from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from plk_support import begun, make_batch, make_task
from safetensors.torch import save_file
from tiny import assembled, steps

from plk_baselines.classifiers import Classifier, ClassifierNet, ResNet18, Vgg16
from pseudolabel_kit.engine.signals import Stop
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Task
from pseudolabel_kit.plugin.build import read_recipe

SMALL = [Vgg16(width=0.0625), Vgg16(width=0.0625, norm=False), ResNet18(width=0.0625)]


def net(part: Classifier, of: Task | None = None) -> ClassifierNet:
    torch.manual_seed(0)
    of = of or make_task()
    model = begun(part, of).build(of)
    part.pretrain(model)
    assert isinstance(model, ClassifierNet)
    return model.eval()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("part", SMALL)
def test_classes_alone_with_a_linear_head_to_map(part: Classifier, channels: int) -> None:
    of = make_task(channels=channels)
    model, image = net(part, of), make_batch(2, of).image
    prediction = model(image)
    assert prediction.class_logits.shape == (2, 3)
    assert prediction.mask_logits is None
    assert torch.equal(model.classify(image), prediction.class_logits)
    (scale,) = prediction.scales
    maps = torch.einsum("nd,bdhw->bnhw", scale.weight, scale.features)
    expected = maps.mean(dim=(2, 3)) + model.class_head.bias
    torch.testing.assert_close(prediction.class_logits, expected)


@pytest.mark.parametrize(
    ("part", "name", "last", "channels"),
    [
        (ResNet18(), "resnet18", -1, 1),
        (ResNet18(), "resnet18", -1, 3),
        (Vgg16(), "vgg16_bn", -2, 1),
        (Vgg16(norm=False), "vgg16", -2, 3),
    ],
)
def test_the_features_are_timms_with_the_weights_of_a_file(
    tmp_path: Path, part: Classifier, name: str, last: int, channels: int
) -> None:
    torch.manual_seed(1)
    theirs = timm.create_model(name, features_only=True).eval()
    path = tmp_path / "w.safetensors"
    save_file(dict(theirs.state_dict()), path)
    of = make_task(channels=channels, size=(64, 64))
    model = net(replace(part, pretrained=str(path)), of)
    image = make_batch(1, of).image
    expected = theirs(model.normalise(image).expand(-1, 3, -1, -1))[last]
    torch.testing.assert_close(model(image).scales[0].features, expected)
    assert not torch.equal(model.normalise(image), image)


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    save_file(dict(timm.create_model("resnet18").state_dict()), tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=r"'layer1.0.conv1.weight' has shape .*expected \(32, 64"):
        net(ResNet18(width=0.5, pretrained=str(tmp_path / "w.safetensors")))


def test_weights_that_the_cache_lacks_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"hf download timm/resnet18\.a1_in1k"):
        net(ResNet18(pretrained="imagenet"))


@pytest.mark.parametrize("part", SMALL)
def test_images_of_32_pixels_are_enough_and_smaller_ones_refused(part: Classifier) -> None:
    of = make_task(size=(32, 32))
    assert net(part, of)(make_batch(1, of).image).class_logits.isfinite().all()
    with pytest.raises(ConfigError, match="31x32 pixels are too small"):
        net(part, make_task(size=(31, 32)))


def test_vgg_keeps_its_thirteen_convolutions_and_drops_the_dense_layers() -> None:
    model = net(Vgg16(width=0.125))
    filters = [m.out_channels for m in model.trunk.modules() if isinstance(m, torch.nn.Conv2d)]
    assert filters == [8, 8, 16, 16, 32, 32, 32, 64, 64, 64, 64, 64, 64]
    assert model(make_batch().image).scales[0].features.shape[-2:] == (2, 2)


@pytest.mark.parametrize("recipe", ["vgg16", "resnet18"])
def test_the_recipe_trains_every_parameter(tmp_path: Path, recipe: str) -> None:
    loop = assembled(tmp_path, read_recipe(recipe), steps(3))
    before = {name: p.detach().clone() for name, p in loop.learner.named_parameters()}
    assert loop.run(Stop())
    moved = [not torch.equal(p, before[name]) for name, p in loop.learner.named_parameters()]
    assert all(moved)
