"""What explanations cost: ours against captum's own default call on the same network.

Run with: pytest tests/bench/bench_explainers.py --benchmark-enable
"""

from __future__ import annotations

import captum.attr
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import nn

from plk_calibrated.caam import Caam
from plk_calibrated.integrated_gradients import IntegratedGradients
from plk_calibrated.vgg import VggMultiscale
from plk_captum.deeplift import DeepLift
from plk_captum.gradcam import GradCam
from plk_captum.guided_gradcam import GuidedGradCam
from plk_captum.input_x_gradient import InputXGradient
from plk_captum.occlusion import Occlusion
from plk_captum.saliency import Saliency
from pseudolabel_kit.interfaces import Explainer, Task
from pseudolabel_kit.isolate import isolated

ROWS, SIDE = 8, 96
TASK = Task(channels=1, size=(SIDE, SIDE), classes=("a", "b"), lesion_classes=(1,))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    backbone = VggMultiscale(width=0.5)
    backbone.begin(TASK)
    return backbone.build(TASK)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(ROWS, 1, SIDE, SIDE)


@pytest.mark.benchmark(group="explain")
@pytest.mark.parametrize(
    "part",
    [
        Caam(levels=(1, 2, 3)),
        InputXGradient(),
        IntegratedGradients(),
        IntegratedGradients(steps=50, method="gausslegendre", internal_batch=16),
        GradCam(),
        Saliency(),
        Occlusion(),
        DeepLift(),
        GuidedGradCam(),
    ],
    ids=[
        "caam",
        "input-x-gradient",
        "ig",
        "ig:steps=50:method=gausslegendre",
        "gradcam",
        "saliency",
        "occlusion",
        "deeplift",
        "guided-gradcam",
    ],
)
def test_explain(
    benchmark: BenchmarkFixture, net: nn.Module, images: torch.Tensor, part: Explainer
) -> None:
    part.begin(TASK)
    with isolated(net), torch.no_grad():
        prediction = net(images)
        benchmark.pedantic(part.explain, (net, images, prediction), rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="explain")
@pytest.mark.parametrize("path", ["classify", "forward"])
def test_captum_default(
    benchmark: BenchmarkFixture, net: nn.Module, images: torch.Tensor, path: str
) -> None:
    """50 Gauss-Legendre nodes in one pass, on the class scores and on the whole network."""

    def forward(x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = net.classify(x) if path == "classify" else net(x).class_logits
        return logits

    attribute = captum.attr.IntegratedGradients(forward).attribute
    benchmark.pedantic(attribute, (images,), {"target": 1}, rounds=1)


@pytest.mark.benchmark(group="forward")
@pytest.mark.parametrize("path", ["classify", "forward"])
def test_forward(
    benchmark: BenchmarkFixture, net: nn.Module, images: torch.Tensor, path: str
) -> None:
    with torch.no_grad():
        benchmark(net.classify if path == "classify" else net, images)


@pytest.mark.benchmark(group="isolate")
def test_isolate(benchmark: BenchmarkFixture, net: nn.Module) -> None:
    def lend() -> None:
        with isolated(net):
            pass

    benchmark(lend)
