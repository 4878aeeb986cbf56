"""Runs the lines of a page's `sh` blocks, all in this process, and with short trainings."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from glob import glob
from importlib import invalidate_caches
from pathlib import Path

import pytest
from docs_page import ROOT
from markupsafe import Markup
from tiny import PHANTOM, cache_folder

from pseudolabel_kit.cli import comparing
from pseudolabel_kit.cli.main import call
from pseudolabel_kit.compare import plots, worker
from pseudolabel_kit.compare.cells import Cell, Watcher
from pseudolabel_kit.compare.spec import read_spec
from pseudolabel_kit.engine.signals import Stop
from pseudolabel_kit.layers import read_toml
from pseudolabel_kit.plugin.catalogue import catalogue
from pseudolabel_kit.plugin.discovery import DISABLE
from pseudolabel_kit.report import charts

SHORT = {
    "train.steps": "4",
    "train.batch_size": "2",
    "evaluate.bootstrap": "10",
    "evaluate.figures": "1",
    "evaluate.strips": "none",
    "audit.rows": "4",
    "data.cache": cache_folder(),
}
PIP = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--upgrade")


def spread(word: str) -> list[str]:
    """What a word with a star stands for: the files that are there, or itself."""
    return sorted(glob(word)) or [word] if "*" in word else [word]


class Shell:
    """What a page's commands are typed into.

    Reports are written without their curves, and the cells of a comparison run one after the
    other in this process: both would be most of the time.

    Args:
        site: where `pip install` puts things; on the path.
        patch: undoes what a line changes in this process.
    """

    def __init__(self, site: Path, patch: pytest.MonkeyPatch) -> None:
        self.site = site
        self.patch = patch
        for module in (charts, plots):
            patch.setattr(module, "drawing", lambda *args: Markup("<svg/>"))
        patch.setitem(comparing.SPREAD, comparing.HERE, in_turn)
        self.known: Mapping[str, Callable[[list[str]], int]] = {
            "plk": self.plk,
            "pip": self.pip,
            "pytest": self.pytest,
            "python": self.python,
            "cd": self.cd,
        }

    def run(self, code: str) -> None:
        """Every line of a block; what is not known here is refused, not skipped."""
        for line in code.replace("\\\n", " ").splitlines():
            words = [each for word in shlex.split(line, comments=True) for each in spread(word)]
            told = re.search(r"# exits with (\d+)$", line)
            with self.patch.context() as here:
                here.setenv(DISABLE, "")  # undone, also where --no-plugin sets it
                while words and "=" in words[0]:
                    here.setenv(*words.pop(0).split("=", 1))
                if words:
                    assert words[0] in self.known, f"nobody here knows how to run: {line}"
                    code = self.known[words[0]](words[1:])
                    assert code == (int(told[1]) if told else 0), f"{line} ended with {code}"

    def plk(self, words: list[str]) -> int:
        """A command line of ours; a study of examples/ is read, test_examples.py runs it."""
        catalogue.cache_clear()
        if words[0] == "compare" and words[1].startswith("examples/"):
            read_spec(ROOT / words[1])
            return 0
        return call([*words, *shortened(words)])

    def pip(self, words: list[str]) -> int:
        """`pip install [-e] FOLDER`, for real, into the site."""
        folders = [word for word in words[1:] if word != "-e"]
        assert words[0] == "install", words
        assert all(word.startswith(".") for word in folders), f"not a folder here: {words}"
        line = ["pip", "install", *PIP, "--target", str(self.site), *folders]
        done = subprocess.run([sys.executable, "-m", *line], capture_output=True, text=True)
        print(done.stdout, done.stderr)
        if "-e" in words:
            self.link(Path(folders[0].partition("[")[0]).resolve())
        invalidate_caches()
        self.forget()
        return done.returncode

    def link(self, folder: Path) -> None:
        """What an editable installation does: packages are read where they are written."""
        for package in self.site.iterdir():
            if (folder / package.name / "__init__.py").is_file():
                shutil.rmtree(package)
                package.symlink_to(folder / package.name)

    def pytest(self, words: list[str]) -> int:
        """The tests of an author's package, by its own settings."""
        own = ("-p", "no:cacheprovider", "-p", "no:timeout")
        with pytest.MonkeyPatch.context() as here:
            here.syspath_prepend(Path.cwd())
            return int(pytest.main(["-q", "-s", *own, *words]))

    def python(self, words: list[str]) -> int:
        """A script."""
        runpy.run_path(words[0], run_name="__main__")
        return 0

    def cd(self, words: list[str]) -> int:
        """Another folder, until the page ends."""
        os.chdir(words[0])
        return 0

    def forget(self) -> None:
        """Import anew what the site holds."""
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(str(self.site)):
                del sys.modules[name]


def in_turn(
    cells: Sequence[Cell], *, watcher: Watcher, stop: Stop, jobs: int | None = None
) -> None:
    """Run the cells of a comparison; what one raises is raised here."""
    for cell in cells:
        watcher.began(cell)
        worker._work(cell, lambda *steps: None)
        watcher.ended(cell, None)


def shortened(words: Sequence[str]) -> list[str]:
    """What is added to a line so that it takes a second: few steps on a small phantom."""
    if words[0] not in ("train", "compare") or "--resume" in words:
        return []
    settings = dict(SHORT)
    if "--quick" in words:
        settings = {"data.cache": SHORT["data.cache"]}
    elif not names_data(words):
        settings["data.source"] = PHANTOM
    elif any(word.startswith("data.size=") for word in words):
        settings["data.size"] = "32"
    added = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return [*added, "--seeds", "1", "--jobs", "2"] if words[0] == "compare" else added


def names_data(words: Sequence[str]) -> bool:
    """Whether a line says which images, itself or by the file that it names."""
    if "--data" in words or any(word.startswith("data.source=") for word in words):
        return True
    tables = [read_toml(Path(word)) for word in words[1:2] if word.endswith(".toml")]
    return any("source" in {**t, **t.get("common", {})}.get("data", {}) for t in tables)
