"""What a step costs: a calibrated one against fixmatch and supervised, with loading and without.

Run with: pytest tests/bench/bench_steps.py --benchmark-enable
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from pytest_benchmark.fixture import BenchmarkFixture

from pseudolabel_kit.data.source import open_store
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.loop import Loop
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.engine.run import assemble, configure
from pseudolabel_kit.engine.seeding import prefer_determinism
from pseudolabel_kit.engine.step import Step
from pseudolabel_kit.layers import assignment


class Still:
    """A feed that reads one step and gives it out for ever."""

    def __init__(self, step: Step) -> None:
        self.read = step

    def step(self, number: int, weights: Mapping[str, float]) -> Step:
        return self.read


METHODS = {
    "calibrated": {},
    "calibrated, input-x-gradient": {"explainer": "input-x-gradient,caam"},
    "fixmatch": {"explainer": "none", "fuser": "fixmatch"},
    "supervised": {"explainer": "none", "fuser": "none"},
}


def begun(folder: Path, method: dict[str, str]) -> Loop:
    """A run in whose steps L_u counts, at the default settings."""
    torch.set_num_threads(2)
    prefer_determinism()
    config = configure({"method": method}, assignment("audit.holdout=0"))
    fabric = Fabric(accelerator="cpu", devices=1)
    data = open_store(config.data)
    run = RunFolder(folder)
    loop = assemble(config, Method.build(config.method), data, fabric, run)
    loop.progress.consistency_began = 0
    loop.progress.step = 300
    return loop


@pytest.mark.benchmark(group="step")
@pytest.mark.parametrize("name", list(METHODS))
def test_step(benchmark: BenchmarkFixture, tmp_path: Path, name: str) -> None:
    loop = begun(tmp_path, METHODS[name])
    benchmark.pedantic(loop.train, rounds=10, warmup_rounds=2)


@pytest.mark.benchmark(group="images")
@pytest.mark.parametrize("loading", [True, False], ids=["read each step", "read once"])
def test_images(benchmark: BenchmarkFixture, tmp_path: Path, loading: bool) -> None:
    """16 images a step; divide by the time for images a second."""
    loop = begun(tmp_path, METHODS["fixmatch"])
    if not loading:
        step = loop.feed.step(300, loop.weights(300))
        loop.feed = Still(step)  # type: ignore[assignment]
    benchmark.pedantic(loop.train, rounds=10, warmup_rounds=2)


@pytest.mark.benchmark(group="images")
def test_reading_alone(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    loop = begun(tmp_path, METHODS["fixmatch"])
    benchmark.pedantic(loop.feed.step, (300, loop.weights(300)), rounds=20, warmup_rounds=2)
