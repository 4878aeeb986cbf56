"""What an exported network costs by onnxruntime, against the network itself in torch.

Run with: OMP_NUM_THREADS=1 pytest tests/bench/bench_export.py --benchmark-enable
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from pseudolabel_kit import build
from pseudolabel_kit.export.formats import Onnx
from pseudolabel_kit.export.graph import Probabilities, traced
from pseudolabel_kit.interfaces import Task

SIDE = 224
TASK = Task(channels=1, size=(SIDE, SIDE), classes=("a", "b", "c"), lesion_classes=(2,))


def network(width: float) -> Probabilities:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    backbone = build("backbone", f"vgg-multiscale:width={width}")
    backbone.begin(TASK)
    return Probabilities(backbone.build(TASK), TASK)


@pytest.mark.benchmark(group="answer")
@pytest.mark.parametrize("width", [0.25, 1.0])
def test_torch(benchmark: BenchmarkFixture, width: float) -> None:
    chosen, image = network(width), torch.rand(1, 1, SIDE, SIDE)
    with torch.no_grad():
        benchmark.pedantic(chosen, args=(image,), rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="answer")
@pytest.mark.parametrize("width", [0.25, 1.0])
def test_onnxruntime(benchmark: BenchmarkFixture, width: float, tmp_path: Path) -> None:
    chosen, file = network(width), tmp_path / "network.onnx"
    Onnx().write(traced(chosen, "vgg-multiscale"), file, "{}", "vgg-multiscale")
    answer = Onnx().read(file)
    benchmark.pedantic(answer, args=(torch.rand(1, 1, SIDE, SIDE).numpy(),), rounds=5)
