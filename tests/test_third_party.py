"""A stranger's distribution, `plk-staple`: installed, tested, checked, trained with, compared."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from install_support import ROOT, Installed, pytest_line, short_run
from tiny import PHANTOM, records

SOURCE = ROOT / "examples" / "third_party"
QUICK = [
    *("--set", f"data.source={PHANTOM}", "--set", "method.backbone=vgg-multiscale:width=0.0625"),
    *short_run(),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that building it leaves nothing beside its sources."""
    folder = tmp_path_factory.mktemp("staple") / "third_party"
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info", ".*")
    shutil.copytree(SOURCE, folder, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def installed(folder: Path) -> Installed:
    installed = Installed(folder.parent / "site")
    installed.install(folder)
    return installed


def test_its_own_tests_pass(installed: Installed, folder: Path) -> None:
    shown = installed.run("pytest", *pytest_line([folder]), cwd=folder)
    assert " passed" in shown
    assert "skipped" not in shown


def test_it_is_listed_and_shown(installed: Installed, tmp_path: Path) -> None:
    listed = json.loads(installed.run("pseudolabel_kit", "plugins", "list", "--json", cwd=tmp_path))
    found = [each["kind"] for each in listed["components"] if each["plugin"] == "staple"]
    assert found == ["fuser", "recipe"]
    shown = installed.run("pseudolabel_kit", "plugins", "show", "fuser/staple", cwd=tmp_path)
    assert "From plugin 'staple' (plk-staple 0.1.0), plk_staple.staple:Staple" in shown
    assert "pixel|image|float > 0 and < 1" in " ".join(shown.split())


def test_the_commands_of_its_readme_run(installed: Installed, tmp_path: Path) -> None:
    """`plk` line by line; trainings are made short, and of one seed."""
    (block,) = re.findall(r"```sh\n(.*?)```", (SOURCE / "README.md").read_text(), re.S)
    lines = [shlex.split(line) for line in block.splitlines()]
    for program, *words in lines:
        if program == "plk":
            more = {"train": QUICK, "compare": [*QUICK, "--seeds", "1"]}.get(words[0], [])
            installed.run("pseudolabel_kit", *words, *more, cwd=tmp_path)
    trained, cell = tmp_path / "runs" / "staple", tmp_path / "runs" / "compare" / "staple"
    assert records(trained, "step")[-1]["losses"]["consistency.mask"] > 0
    assert (cell / "seed0" / "report.html").is_file()
    assert ["plk", "plugins", "check", "staple"] in lines
