"""A stranger's distribution, `plk-staple`: installed, tested, checked, trained with, compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from install_support import ROOT, Installed, pytest_line, short_run
from tiny import PHANTOM, cache_folder, records

SOURCE = ROOT / "examples" / "third_party"
QUICK = ["--set", f"data.source={PHANTOM}", *short_run(cache_folder())]


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


def test_the_kit_finds_nothing_to_mend(installed: Installed, tmp_path: Path) -> None:
    installed.run("pseudolabel_kit", "plugins", "check", "fuser/staple", cwd=tmp_path)


def test_it_trains_by_its_name(installed: Installed, tmp_path: Path) -> None:
    line = ["train", "--backbone", "vgg-multiscale:width=0.0625", "--fuser", "staple"]
    line += ["--explainer", "input-x-gradient,caam:start=0%", "--out", "run", *QUICK]
    installed.run("pseudolabel_kit", *line, cwd=tmp_path)
    assert any("mask" in str(record) for record in records(tmp_path / "run"))


def test_it_is_compared_by_its_name(installed: Installed, tmp_path: Path) -> None:
    line = ["compare", "--recipe", "supervised,staple", "--seeds", "1", "--out", "cells"]
    narrow = ["--set", "method.backbone=vgg-multiscale:width=0.0625"]
    shown = installed.run("pseudolabel_kit", *line, *narrow, *QUICK, cwd=tmp_path)
    assert "staple" in shown
    assert (tmp_path / "cells" / "staple" / "seed0" / "report.html").is_file()
