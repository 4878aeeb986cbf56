"""What fusing costs: ours against the equations written out, four softmaxes and a power.

Run with: pytest tests/bench/bench_fusers.py --benchmark-enable
"""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from plk_calibrated.sharpen import Norm, Sharpen
from plk_thresholds.fixmatch import FixMatch
from pseudolabel_kit.interfaces import Evidence, Fuser, Prediction, Task

ROWS, SIDE = 8, 224
TASK = Task(channels=1, size=(SIDE, SIDE), classes=("a", "b"), lesion_classes=(1,))


@pytest.fixture(scope="module")
def prediction() -> Prediction:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    return Prediction(
        class_logits=torch.randn(ROWS, 2), mask_logits=3 * torch.randn(ROWS, 1, SIDE, SIDE)
    )


@pytest.fixture(scope="module")
def evidence() -> dict[str, Evidence]:
    class_map, attribution = torch.rand(2, ROWS, 1, SIDE, SIDE)
    return {
        "caam": Evidence(map=class_map, family="class-map"),
        "ig": Evidence(map=attribution, family="attribution"),
    }


def literal(logits: Tensor, class_map: Tensor, attribution: Tensor) -> Tensor:
    """Eq. 8 to 10 as they are printed, with image-rms for eq. 9."""
    c, s = (torch.cat((1 - a, a), dim=1) for a in (class_map, attribution))
    p = torch.cat((-logits / 2, logits / 2), dim=1)
    n = torch.cat((c, s, p), dim=1).square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    mixed = 0.3 * (c / n).softmax(1) + 0.4 * (s / n).softmax(1) + 0.4 * (p / n).softmax(1)
    power = mixed ** (1 / 0.5)
    return (power / power.sum(dim=1, keepdim=True))[:, 1:]


@pytest.mark.benchmark(group="fuse")
@pytest.mark.parametrize("norm", ["image-rms", "pixel", "batch-rms", "paper"])
def test_sharpen(
    benchmark: BenchmarkFixture,
    prediction: Prediction,
    evidence: dict[str, Evidence],
    norm: Norm,
) -> None:
    run(benchmark, Sharpen(norm=norm), prediction, evidence)


@pytest.mark.benchmark(group="fuse")
def test_fixmatch(
    benchmark: BenchmarkFixture, prediction: Prediction, evidence: dict[str, Evidence]
) -> None:
    run(benchmark, FixMatch(), prediction, evidence)


@pytest.mark.benchmark(group="fuse")
def test_literal(
    benchmark: BenchmarkFixture, prediction: Prediction, evidence: dict[str, Evidence]
) -> None:
    maps = (evidence["caam"].map, evidence["ig"].map)
    fused = benchmark(literal, prediction.mask_logits, *maps)
    part = Sharpen(gate="none", ratios=(0.3, 0.4, 0.4))
    part.begin(TASK)
    torch.testing.assert_close(fused, part.fuse(prediction, evidence).mask)


@pytest.mark.benchmark(group="fuse")
def test_three_sigmoids(
    benchmark: BenchmarkFixture, prediction: Prediction, evidence: dict[str, Evidence]
) -> None:
    """The least that could be done: reading three maps and writing one for each."""
    maps = [prediction.mask_logits, *(item.map for item in evidence.values())]
    benchmark(lambda: [torch.sigmoid(each) for each in maps])


def run(
    benchmark: BenchmarkFixture,
    part: Fuser,
    prediction: Prediction,
    evidence: dict[str, Evidence],
) -> None:
    part.begin(TASK)
    benchmark(part.fuse, prediction, evidence)
