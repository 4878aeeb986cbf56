"""Distributions that are installed for real, into a folder, and commands that see them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tiny import cache_folder

ROOT = Path(__file__).parents[1]
PIP = ("install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target")


@dataclass(frozen=True)
class Installed:
    """A folder on the path of the processes that are started here."""

    site: Path

    def install(self, *folders: Path) -> None:
        """As an author would, but for the folder and for what is installed already."""
        line = [sys.executable, "-m", "pip", *PIP, str(self.site), *map(str, folders)]
        done = subprocess.run(line, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def run(self, module: str, *words: str | Path, cwd: Path) -> str:
        """What `python -m MODULE WORDS` prints in a working folder."""
        return self.python("-m", module, *words, cwd=cwd)

    def python(self, *words: str | Path, cwd: Path) -> str:
        """What an interpreter prints, which must end well."""
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=cwd,
            env=self.environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def environment(self) -> dict[str, str]:
        """This process's own, with the folder on the path."""
        cleared = {k: v for k, v in os.environ.items() if not k.startswith(("PLK_", "PYTEST_"))}
        path = os.pathsep.join([str(self.site), *filter(None, sys.path)])
        return cleared | {"PYTHONPATH": path, "COLUMNS": "160", "PLK_CACHE": cache_folder()}


def pytest_line(folders: Sequence[Path]) -> list[str | Path]:
    """Words for pytest: the tests of these distributions, warnings as errors, nothing left."""
    return ["-q", "-W", "error", "-p", "no:cacheprovider", *(each / "tests" for each in folders)]


def short_run() -> list[str]:
    """`--set` of a training that takes seconds, with pseudo labels from the second step on."""
    settings = {
        "train.steps": "4",
        "train.batch_size": "2",
        "loss.consistency_start": "1steps",
        "loss.consistency_ramp": "1steps",
        "evaluate.bootstrap": "10",
        "evaluate.figures": "0",
        "evaluate.strips": "none",
        "audit.rows": "4",
    }
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
