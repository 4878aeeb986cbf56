"""A new plugin of every kind: written, installed, tested and trained with, as its author would."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from install_support import ROOT, Installed, pytest_line, short_run
from tiny import records, refused

from pseudolabel_kit.cli.main import call
from pseudolabel_kit.compare.spec import read_spec
from pseudolabel_kit.plugin.component import KINDS, Kind
from pseudolabel_kit.scaffold import writer
from pseudolabel_kit.scaffold.names import LONGEST, Names

SCAFFOLD = ROOT / "pseudolabel_kit" / "scaffold"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new plugin of each kind, and a dataset whose package is called as it is."""
    folder = tmp_path_factory.mktemp("written")
    for kind in KINDS:
        assert call(["plugins", "new", kind, f"my-{kind}", "--out", str(folder / kind)]) == 0
    assert call(["plugins", "new", "dataset", "clinic", "--out", str(folder / "clinic")]) == 0
    return folder


@pytest.fixture(scope="module")
def installed(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """All of them installed, from where they were written."""
    site = Installed(tmp_path_factory.mktemp("site"))
    site.install(*written.iterdir())
    return site


def test_they_are_listed(installed: Installed, tmp_path: Path) -> None:
    listed = json.loads(installed.run("pseudolabel_kit", "plugins", "list", "--json", cwd=tmp_path))
    found = [(each["kind"], each["name"], each["plugin"]) for each in listed["components"]]
    for kind in KINDS:
        assert (kind, f"my-{kind}", f"my-{kind}") in found
    assert listed["broken"] == []


def test_their_own_tests_pass(installed: Installed, written: Path) -> None:
    folders = [written / kind for kind in KINDS]
    shown = installed.run("pytest", *pytest_line(folders), cwd=written)
    assert " passed" in shown
    assert "skipped" not in shown


def test_a_run_made_of_all_of_them(installed: Installed, tmp_path: Path) -> None:
    line = [
        *("train", "--data", "my-dataset:side=32", "--recipe", "my-recipe"),
        *("--backbone", "my-backbone:width=4", "--explainer", "my-explainer:copies=2"),
        *("--fuser", "my-fuser", "--tracker", "my-tracker:every=2", "--out", "run"),
        *("--set", "method.perturbation=my-perturbation", *short_run()),
    ]
    installed.run("pseudolabel_kit", *line, cwd=tmp_path)
    last = records(tmp_path / "run", "step")[-1]
    assert last["losses"]["consistency.mask"] > 0
    lines = (tmp_path / "run" / "my-tracker.csv").read_text().splitlines()
    assert {line.split(",")[0] for line in lines} == {"2", "4"}
    assert tomllib.loads((tmp_path / "run" / "run.toml").read_text())["method"]["teacher"] == "ema"


def test_the_commands_of_their_readmes_run(installed: Installed, written: Path) -> None:
    """All but checks, which their own tests repeat; trainings and comparisons are read alone.

    They are typed beside the package: one that is called as its dataset is not taken for images.
    """
    found = {
        home.parent: re.findall(r"^plk (train|data|plugins show)(.*)$", home.read_text(), re.M)
        for home in written.glob("*/README.md")
    }
    assert len(found) == len(KINDS) + 1
    assert (written / "clinic" / "clinic").is_dir()
    lines = [
        f"{home}:{word}{rest}{' --dry-run' * (word == 'train')}"
        for home, commands in found.items()
        for word, rest in commands
    ]
    assert len(lines) == 2 * len(found) + 2
    code = (
        "import os, shlex, sys\n"
        "from pseudolabel_kit.cli.main import call\n"
        "for line in sys.argv[1:]:\n"
        "    home, _, words = line.partition(':')\n"
        "    os.chdir(home)\n"
        "    assert call(shlex.split(words)) == 0, line\n"
    )
    installed.python("-c", code, *lines, cwd=written)
    for path in written.glob("*/compare.toml"):
        spec = read_spec(path)
        own = spec.config(spec.rows[-1], 0).method.model_dump()
        assert own[path.parent.name] == f"my-{path.parent.name}"


def test_they_and_the_example_are_strictly_typed(written: Path) -> None:
    homes = [*(written / kind for kind in KINDS), ROOT / "examples" / "third_party"]
    line = [
        *("mypy", "--strict", "--explicit-package-bases", "--follow-imports", "silent"),
        *("--cache-dir", os.devnull),
        *(path for home in homes for path in home.glob("*/*.py")),
    ]
    found = subprocess.run(
        [sys.executable, "-m", *map(str, line)],
        env={"MYPYPATH": ":".join(map(str, [ROOT, *homes])), "PATH": ""},
        cwd=written,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("name", ["a", "n" * LONGEST])
def test_names_of_any_length_leave_tidy_code(name: str, tmp_path: Path) -> None:
    for kind in KINDS:
        assert call(["plugins", "new", kind, name, "--out", str(tmp_path / kind)]) == 0
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    rules = ["--select", ",".join(lint["select"]), "--ignore", ",".join(lint["ignore"])]
    rules += ["--per-file-ignores", "**/tests/**:D"]
    for words in (["check", *rules], ["format", "--check"]):
        line = [sys.executable, "-m", "ruff", *words, "--no-cache", "."]
        found = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
        assert found.returncode == 0, found.stdout


def test_it_says_what_to_type_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(["plugins", "new", "fuser", "my-fuser"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "wrote my-fuser: the fuser my-fuser, which works; make it yours in my_fuser/fuser.py,",
        "and its line for lists in my_fuser/__init__.py",
        "next:",
        "  cd my-fuser",
        '  pip install -e ".[test]"',
        "  plk plugins check my-fuser",
        "  pytest",
        "  plk train --fuser my-fuser --steps 50",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my-fuser"]
    assert sorted(path.name for path in (tmp_path / "my-fuser").iterdir()) == [
        *(".gitignore", "README.md", "compare.toml", "my_fuser", "pyproject.toml", "tests")
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_readme_names_what_is_there(kind: Kind, written: Path) -> None:
    text = (written / kind / "README.md").read_text()
    assert ("(compare.toml)" in text) == (written / kind / "compare.toml").exists()
    assert f"plk plugins check my-{kind}" in text
    assert writer.training(Names(kind, f"my-{kind}")) in text
    assert "\n\n\n" not in text


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["fusor", "mine"], "there is no kind 'fusor' (did you mean 'fuser'?); expected one of "),
        (["FUSER", "mine"], "there is no kind 'FUSER' (did you mean 'fuser'?)"),
        (["my-fuser", "fuser"], "the kind stands first: plk plugins new fuser my-fuser"),
        (["fuser", "my_fuser"], "letters, digits and single dashes, a letter first (try 'my-fuser"),
        (["fuser", "MyFuser"], "(try 'my-fuser')"),
        (["fuser", "My fuser!"], "(try 'my-fuser')"),
        (["fuser", "3d-mean"], "(try 'd-mean')"),
        (["fuser", "../mine"], "(try 'mine')"),
        (["fuser", "mine--too-"], "(try 'mine-too')"),
        (["fuser", ""], "a letter first"),
        (["fuser", "größe"], "(try 'gr-e')"),
        (["fuser", "x" * (LONGEST + 1)], f"it is longer than {LONGEST} letters"),
        (["fuser", "class"], "the word has a meaning of its own"),
        (["dataset", "none"], "the word has a meaning of its own"),
        (["fuser", "tests"], "the word has a meaning of its own"),
        (["fuser", "random"], "its package would hide the module 'random' that is installed"),
        (["fuser", "torch"], "its package would hide the module 'torch' that is installed"),
        (["fuser", "plk-smp"], "its package would hide the module 'plk_smp' that is installed"),
        (["fuser", "sharpen"], "plugin 'calibrated' offers a fuser of this name"),
        (["explainer", "thresholds"], "a plugin of this name is installed"),
    ],
)
def test_what_an_author_types_wrong_is_one_line(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert complaint in refused(["plugins", "new", *words], capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_another_kind_may_be_taken(tmp_path: Path) -> None:
    assert call(["plugins", "new", "tracker", "sharpen", "--out", str(tmp_path / "t")]) == 0


@pytest.mark.parametrize("made", ["folder", "file", "link"])
def test_what_exists_is_left_alone(
    made: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there"
    {
        "folder": there.mkdir,
        "file": there.touch,
        "link": lambda: there.symlink_to(tmp_path / "nowhere"),
    }[made]()
    told = refused(["plugins", "new", "fuser", "my-fuser", "--out", str(there)], capsys)
    assert told == f"{there} exists: expected a folder that is not there yet (see --out)"
    assert list(tmp_path.rglob("*")) == [there]


def test_a_place_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "mine"
    told = refused(["plugins", "new", "fuser", "my-fuser", "--out", str(out)], capsys)
    assert told == f"{out} cannot be written: Not a directory"


def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def half(names: Names) -> Iterator[tuple[str, str]]:
        yield "README.md", names.name
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer, "rendered", half)
    out = tmp_path / "mine"
    told = refused(["plugins", "new", "fuser", "my-fuser", "--out", str(out)], capsys)
    assert told == f"{out} cannot be written: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_help_has_examples_and_imports_no_templates(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["plugins", "new", "--help"]) == 0
    text = capsys.readouterr().out
    assert "plk plugins new fuser my-fuser" in text
    assert all(kind in text for kind in KINDS)


def test_every_template_is_packaged_and_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "pseudolabel_kit.scaffold" in project["packages"]
    templates = {path.name for path in (SCAFFOLD / "templates").iterdir()}
    for name in templates:
        assert any(fnmatch(f"templates/{name}", glob) for glob in project["package-data"]["*"])
    used = {file for kind in KINDS for _, file in writer.files(Names(kind, "mine"))}
    assert used - {""} == templates
