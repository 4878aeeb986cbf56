from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest
from conftest import Site
from rich.console import Console

from pseudolabel_kit.cli import check_plugin
from pseudolabel_kit.cli.main import call

PARTS = '''
from dataclasses import dataclass

import torch

from pseudolabel_kit.interfaces import Fuser, PseudoLabels


@dataclass(frozen=True, kw_only=True)
class Mean(Fuser):
    """The decoder's probability.

    Attributes:
        over: the rows that a mean is taken of: each by itself, or all.
        twice: it is doubled.
    """

    over: bool = False
    twice: bool = False

    def fuse(self, prediction, evidence):
        mask = prediction.need_masks("mean").float().sigmoid()
        if self.over:
            mask = mask / mask.amax()
        if self.twice:
            mask = 2 * mask
        return PseudoLabels(mask=mask, mask_weight=torch.ones_like(mask[:, :1]))
'''


@pytest.fixture(autouse=True)
def parts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    site.offer("aa", '"fuser", "mean", "parts_mean:Mean", "The decoder alone."', parts_mean=PARTS)


def test_a_sound_part_keeps_every_promise(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["plugins", "check", "mean"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("fuser aa/mean\n")
    assert "  ✓ A row's answer stays when the other rows of its batch are exchanged.\n" in text
    assert re.search(
        r"\n  fuse costs \S+% of the time and \S+% of the memory of a forward pass of "
        r"vgg-multiscale:width=0.25 on 8 images of 64 x 64\n",
        text,
    )
    assert text.rstrip().endswith("promises kept")
    assert "✗" not in text


def test_a_fault_is_named_with_its_fix(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["plugins", "check", "mean:over=true"]) == 1
    lines = capsys.readouterr().out.splitlines()
    found = lines.index("  ✗ A row's answer stays when the other rows of its batch are exchanged.")
    assert "row 0 changed with its batchmates" in lines[found + 1]
    assert lines[found + 2].startswith("      fix: ")
    assert lines[-2].endswith("promises broken")


def test_a_fault_that_breaks_many_promises_is_told_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(["plugins", "check", "mean:twice=true"]) == 1
    text = capsys.readouterr().out
    assert text.count("mask lies in [") == 1
    fault = text.index("      mask lies in [")
    broken = [line for line in text[:fault].splitlines() if line.startswith("  ✗ ")]
    assert broken[0] == (
        "  ✗ The answer has the shapes, types and ranges of the contract, for one row and for many."
    )
    assert "  ✗ Any size is answered, or refused in one line." in broken
    assert f"  {len(broken)} of " in text[fault:]
    assert "✓" not in text[fault:]


def test_the_source_of_a_plugin_that_is_not_installed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    hint = "; plugin 'mine' of this folder is not installed: pip install -e .\n"
    for project, told in (
        ('[project.entry-points.pseudolabel_kit]\nmine = "mine"\naa = "light_aa"', True),
        ('[project.entry-points.pseudolabel_kit]\naa = "light_aa"', False),
        ("[project]\nname = 'x'", False),
        ("project = 3", False),
        ("not toml", False),
    ):
        Path("pyproject.toml").write_text(project, encoding="utf-8")
        for command in ("check", "show"):
            assert call(["plugins", command, "my-fuser"]) == 2
            assert capsys.readouterr().err.endswith(hint) is told, project


def test_a_part_is_checked_by_its_old_name(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.offer(
        "bb",
        '"fuser", "new", "parts_mean:Mean", "Renamed.", Formerly("old", until="2.0")',
        extra="from pseudolabel_kit.plugin import Formerly",
    )
    assert call(["plugins", "check", "old"]) == 0
    assert capsys.readouterr().out.startswith("fuser bb/new\n")


def test_a_plugin_is_checked_part_by_part_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["plugins", "check", "aa", "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert (report["kind"], report["reference"], report["plugin"]) == ("fuser", "aa/mean", "aa")
    assert {verdict["fault"] for verdict in report["verdicts"]} == {None}
    assert len(report["verdicts"]) > 20


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ("maen", "there is no part or plugin 'maen' (did you mean 'mean'?)"),
        ("mean:oevr=true", "fuser 'aa/mean:oevr=true': there is no option 'oevr'"),
        ("mean:over=maybe", "over=maybe: expected true|false"),
        ("manifest", "dataset 'builtin/manifest': option 'path' must be given"),
        ("manifest:path=nowhere", "nowhere"),
    ],
)
def test_what_cannot_be_checked_is_one_line(
    asked: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["plugins", "check", asked]) == 2
    shown = capsys.readouterr()
    assert complaint in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_a_misspelt_name_does_not_wait_for_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pseudolabel_kit.testing", None)
    assert call(["plugins", "check", "maen"]) == 2
    with pytest.raises(ModuleNotFoundError):
        call(["plugins", "check", "mean"])


def test_a_terminal_breaks_lines_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=60, no_color=True)
    monkeypatch.setattr(check_plugin, "out", terminal)
    assert call(["plugins", "check", "mean:twice=true"]) == 1
    text = re.sub(r"\x1b\[\d*m", "", terminal.file.getvalue())  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 60
    assert (
        "  ✗ The answer has the shapes, types and ranges of the\n"
        "    contract, for one row and for many.\n"
    ) in text
    assert "\n      fix: normalise it, then clamp what is left outside:\n           x" in text


def test_a_recipe_has_no_price(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["plugins", "check", "recipe/supervised"]) == 0
    assert "forward pass" not in capsys.readouterr().out
