from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from captum_support import Classifier, stack
from hypothesis import given
from hypothesis import strategies as st
from plk_support import begun
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from plk_captum.copies import Apart, Tiled
from plk_captum.deeplift import DeepLift
from plk_captum.input_x_gradient import InputXGradient
from pseudolabel_kit.attribution import Attribution, Baseline, ClassScores

LABEL = torch.tensor([0, 2, 1])
RELU = nn.ReLU(inplace=True)


def conv(inputs: int = 6) -> nn.Module:
    return nn.Conv2d(inputs, 6, 3, padding=1)


NETS: dict[str, Callable[[], Classifier]] = {
    "leaky in place": lambda: stack(conv(1), nn.LeakyReLU(0.1, inplace=True), conv(), nn.ELU()),
    "relu before pool": lambda: stack(conv(1), nn.ReLU(inplace=True), nn.MaxPool2d(2), conv()),
    "windows overlap": lambda: stack(
        conv(1), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1), conv(), nn.ReLU()
    ),
    "activations adjoin": lambda: stack(conv(1), nn.ReLU(), nn.Tanh()),
    "relu twice": lambda: stack(conv(1), RELU, conv(), RELU, conv(), nn.Sigmoid()),
    "resnet": lambda: Classifier(
        nn.Sequential(nn.Conv2d(1, 3, 1), ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3))
    ),
}


def share(part: Attribution, net: Classifier, images: Tensor) -> float:
    """The mean miss over the mean size of what attributions should sum to."""
    told = begun(part).diagnose(net, images, net(images))
    return told["completeness_error"] / told["completeness_gain"]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("baseline", ["blur", "zero"])
def test_attributions_sum_to_the_difference_of_scores(name: str, baseline: Baseline) -> None:
    torch.manual_seed(0)
    net = NETS[name]().double()
    images = torch.rand(3, 1, 33, 32, dtype=torch.float64)
    assert share(DeepLift(baseline=baseline), net, images) < 1e-9
    assert share(InputXGradient(baseline=baseline), net, images) > 1e-4


def test_the_rescale_rule_by_hand() -> None:
    """F = 2 relu(x1) - 3 relu(x2) from 0.2: a unit that comes alive counts from zero on."""
    layer = nn.Conv2d(1, 1, 1)
    layer.weight.data.fill_(1)
    layer.bias.data.fill_(-0.5)  # type: ignore[union-attr]
    head = nn.Linear(2, 1, bias=False)
    head.weight.data = torch.tensor([[2.0, -3.0]])
    net = Classifier(nn.Sequential(layer, nn.ReLU(), nn.Flatten(), head))
    images = torch.tensor([1.0, 0.4]).reshape(1, 1, 1, 2)
    base = torch.full_like(images, 0.2)
    found = begun(DeepLift()).attribute(ClassScores(net), images, base, torch.tensor([0]))
    torch.testing.assert_close(found.flatten(), torch.tensor([2 * 0.5, 0]))


def test_batchmates_never_change_it_under_a_softmax_module() -> None:
    torch.manual_seed(0)
    scores = ClassScores(stack(conv(1), nn.Softmax(dim=1), conv(), nn.ReLU()).double())
    images = torch.rand(3, 1, 32, 32, dtype=torch.float64)
    part = begun(DeepLift())
    together = part.credit(scores, images, LABEL)
    alone = part.credit(scores, images[1:2], LABEL[1:2])
    assert alone.abs().max() > 1e-6
    torch.testing.assert_close(together[1:2], alone, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(2, dilation=2)], ids=repr
)
def test_other_pools_pass_on_their_plain_gradient(pool: nn.Module) -> None:
    torch.manual_seed(0)
    scores = ClassScores(stack(conv(1), pool))
    images = torch.rand(3, 1, 32, 32)
    lift, gradient = (
        begun(part).credit(scores, images, LABEL) for part in (DeepLift(), InputXGradient())
    )
    torch.testing.assert_close(lift, gradient)


@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padded=st.booleans(),
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
)
def test_tiled_pooling_is_pooling(
    kernel: tuple[int, int], stride: tuple[int, int], padded: bool, size: tuple[int, int]
) -> None:
    pool = nn.MaxPool2d(kernel, stride, padding=tuple(side // 2 * padded for side in kernel))
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Tiled(pool)(images), pool(images))


def test_apart_is_a_module_of_its_own_each_time_and_begins_again() -> None:
    module = nn.ReLU(inplace=True)
    apart, ran = Apart(module, 2), []
    for at, one in enumerate(apart.copies):
        one.register_forward_hook(lambda *_, at=at: ran.append(at))
    x = torch.tensor([-1.0, 2])
    assert apart(x.clone()).tolist() == [0, 2]
    apart(x.clone())
    apart(x.clone())
    assert ran == [0, 1, 0]
    assert module not in list(apart.modules())
