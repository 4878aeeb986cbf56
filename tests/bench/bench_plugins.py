"""What `plk plugins list` costs as a whole process, with fifty plugins more, five of them broken.

Beside it the least that could be done, a Python that does nothing, and `pip list`, which reads
the same distributions.

Run with: pytest tests/bench/bench_plugins.py --benchmark-enable
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import Site
from fifty_plugins import FAULTS, install_fifty
from pytest_benchmark.fixture import BenchmarkFixture

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "plk --help": ["-m", "pseudolabel_kit", "--help"],
    "plk plugins list": ["-m", "pseudolabel_kit", "plugins", "list"],
    "pip list": ["-m", "pip", "list", "--disable-pip-version-check"],
}


@pytest.mark.benchmark(group="fifty plugins", min_rounds=9, warmup=True, warmup_iterations=1)
@pytest.mark.parametrize("command", COMMANDS)
def test_command(benchmark: BenchmarkFixture, site: Site, command: str) -> None:
    install_fifty(site)
    line = [sys.executable, *COMMANDS[command]]
    done = benchmark(subprocess.run, line, capture_output=True, text=True, check=True)
    if command == "plk plugins list":
        assert done.stdout.count("Broken: ") == len(FAULTS)
