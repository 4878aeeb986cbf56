from __future__ import annotations

import pytest
import torch
from captum_support import Classifier, stack
from plk_support import begun
from torch import Tensor, nn

from plk_captum.guided_gradcam import GuidedGradCam
from pseudolabel_kit.attribution import ClassScores
from pseudolabel_kit.errors import PluginError

UNITS = [1.0, -1.0, 1.0, -1.0]  # what the rectifier is given
WEIGHTS = [2.0, 2.0, -3.0, -3.0]  # what the score makes of its answers


class Weighed(nn.Module):
    """The score: a weighted sum of pixels, beside a map whose Grad-CAM is 1 everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        seen = self.map(torch.ones_like(x))
        weighed = x * torch.tensor(WEIGHTS).reshape(1, 1, 2, 2)
        return (weighed + seen).sum(dim=(1, 2, 3))[:, None]


@pytest.mark.parametrize(
    ("rectifier", "expected"),
    [
        (nn.ReLU(), [2.0, 0, 0, 0]),
        (nn.ReLU6(), [2.0, 0, 0, 0]),
        (nn.LeakyReLU(0.1), [2.0, 0.2, 0, 0]),
        (nn.LeakyReLU(0.1, inplace=True), [2.0, 0.2, 0, 0]),
    ],
    ids=repr,
)
def test_rectifiers_pass_back_only_positive_gradient(
    rectifier: nn.Module, expected: list[float]
) -> None:
    same = nn.Conv2d(1, 1, 1, bias=False)
    same.weight.data.fill_(1)
    net = Classifier(nn.Sequential(same, rectifier, Weighed()))
    images = torch.tensor(UNITS).reshape(1, 1, 2, 2)
    part = begun(GuidedGradCam(layer="net.2.map"))
    found = part.credit(ClassScores(net), images, torch.tensor([0]))
    torch.testing.assert_close(found.flatten(), torch.tensor(expected))


def test_a_rectifier_that_runs_twice_is_guided_twice() -> None:
    relu = nn.ReLU()

    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return -relu(-2 * relu(x))  # is nil for every positive x, as is its gradient

    twice = Twice()
    twice.relu = relu
    net = stack(nn.Conv2d(1, 6, 3), twice)
    found = begun(GuidedGradCam()).credit(
        ClassScores(net), torch.rand(1, 1, 32, 32), torch.tensor([0])
    )
    assert not found.any()


def test_a_network_without_rectifiers_is_refused() -> None:
    scores = ClassScores(stack(nn.Conv2d(1, 6, 3), nn.GELU()))
    with pytest.raises(PluginError, match=r"^guided-gradcam: this classifier runs no ReLU, Leaky"):
        begun(GuidedGradCam()).credit(scores, torch.rand(1, 1, 32, 32), torch.tensor([0]))
