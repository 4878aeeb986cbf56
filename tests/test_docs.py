from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from pseudolabel_kit.cli.main import COMMANDS, call

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.S)


def test_the_reference_is_what_the_code_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    import generate

    expected = generate.reference().splitlines()
    assert (DOCS / "reference.md").read_text(encoding="utf-8").splitlines() == expected, (
        f"docs/reference.md is stale: run {Path(sys.executable).name} docs/generate.py"
    )


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=str)
def test_commands_in_the_docs_exist(page: Path) -> None:
    for block in blocks(page, "sh"):
        for line in re.findall(r"^(?:plk|.*/plk) (.*)$", block.replace("\\\n", " "), re.M):
            words = shlex.split(line, comments=True)
            assert words[0] in COMMANDS or words[0].startswith("--"), line


def test_the_tutorial_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each `plk` line of the tutorial, in order, in one folder; trainings are made short."""
    monkeypatch.chdir(tmp_path)
    page = DOCS / "tutorial.md"
    for code in blocks(page, "python"):
        if "manifest" in code:
            exec(compile(code, str(page), "exec"), {})
    ran = 0
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] != ["plk"]:
                continue
            if words[1] in ("train", "compare") and "--resume" not in words:
                words += ["--set", "train.steps=4"]
            assert call(words[1:]) == 0, f"{line}\n{capfd.readouterr().err}"
            ran += 1
    assert ran >= 8
    code = next(code for code in blocks(page, "python") if "manifest" not in code)
    exec(compile(code, str(page), "exec"), {})
    assert (tmp_path / "runs" / "first" / "report.html").is_file()
