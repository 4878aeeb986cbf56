from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from captum_support import Classifier, plain, stack
from plk_support import make_net, make_task
from torch import Tensor, nn

from plk_captum.layers import layer_name, trace
from plk_smp.smp import Smp
from pseudolabel_kit.attribution import ClassScores
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import Backbone


def chosen(model: nn.Module, images: Tensor, asked: str = "") -> str:
    scores = ClassScores(model.eval())  # type: ignore[arg-type]
    name = layer_name(scores, images, asked, "gradcam", classes=scores(images).shape[1])
    return name.removeprefix("model.")


def test_the_default_is_the_deepest_block_of_the_paper_s_network() -> None:
    assert chosen(make_net(), torch.rand(2, 1, 32, 37)) == "encoder.conv5"


def test_the_default_on_networks_of_others() -> None:
    images = torch.rand(1, 3, 64, 64)
    torchvisions = Classifier(torchvision.models.resnet18(num_classes=3))
    assert chosen(torchvisions, images) == "net.layer4"
    timms = Classifier(timm.create_model("mobilenetv3_small_050", num_classes=3))
    assert chosen(timms, images) == "net.blocks"


@pytest.mark.parametrize(("side", "layer"), [(64, "layer4"), (32, "layer3")])
def test_a_map_of_one_pixel_is_passed_over(side: int, layer: str) -> None:
    task = make_task(size=(side, side))
    part: Backbone = Smp(encoder="resnet18")
    part.begin(task)
    assert chosen(part.build(task), torch.rand(1, 1, side, side)) == f"net.encoder.{layer}"


def test_a_map_of_scores_is_passed_over_unless_it_is_named() -> None:
    net = stack(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 3, 1), features=3)
    images = torch.rand(2, 1, 32, 32)
    assert chosen(net, images) == "net.1"
    assert chosen(net, images, "net.2") == "net.2"


def test_layers_that_the_classifier_does_not_run_or_runs_twice_are_refused() -> None:
    images, relu = torch.rand(1, 1, 32, 32), nn.ReLU()
    net = make_net(make_task(size=(32, 32)))
    with pytest.raises(PluginError, match=r"^gradcam: layer=decoder.conv4 is not a feature map"):
        chosen(net, images, "decoder.conv4")
    twice = stack(nn.Conv2d(1, 6, 3), relu, nn.Conv2d(6, 6, 3), relu)
    with pytest.raises(PluginError, match=r"layer=net.1 .*; available: net.0, net.2$"):
        chosen(twice, images, "net.1")


def test_a_misspelt_layer_gets_the_nearest_and_the_outermost_names() -> None:
    with pytest.raises(PluginError) as caught:
        chosen(make_net(), torch.rand(1, 1, 32, 37), "encoder.con5")
    assert "(did you mean 'encoder.conv5'?); available: encoder.conv1, encoder.conv2" in str(
        caught.value
    )
    assert "encoder.conv5.0" not in str(caught.value)
    assert "\n" not in str(caught.value)


class Flat(nn.Module):
    """A classifier of single pixels' means, and one of channels-last maps."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.head = nn.Linear(1, 48), nn.Linear(48, 3)

    def classify(self, images: Tensor) -> Tensor:
        channels_last = self.last(images.movedim(1, 3))  # (B,H,W,48) is no map of H rows
        logits: Tensor = self.head(channels_last.mean(dim=(1, 2)))
        return logits


def test_channels_last_maps_are_not_mistaken_for_features() -> None:
    with pytest.raises(PluginError, match="gradcam: this classifier runs through no feature map"):
        chosen(Flat(), torch.rand(1, 1, 128, 16))


def test_a_trace_is_in_order_and_leaves_no_hook() -> None:
    net = plain()
    scores = ClassScores(net)
    names = {module: name for name, module in scores.named_modules()}
    ran = trace(scores, torch.rand(3, 1, 32, 37))
    assert [names[m] for m in ran] == [*(f"model.net.{at}" for at in range(7)), "model.net", ""]
    assert ran[net.net[0]] == [(1, 4, 16, 19)]
    assert not any(module._forward_hooks for module in scores.modules())
