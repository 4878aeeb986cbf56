from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import Site
from docs_page import DOCS, PAGES, ROOT, blocks
from docs_runner import Reader
from docs_shell import Shell

EXCUSES = {
    "CI runs this line itself": 2,
    "needs images that are not in the repository": 10,
    "hours": 2,
    "a measurement": 2,
    "a server that does not end": 1,
    "it needs an account": 1,
    "tests/test_parallel.py runs two processes": 1,
}

each_page = pytest.mark.parametrize(
    "page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES]
)


@each_page
def test_every_block_runs(
    page: Path,
    tmp_path: Path,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    reader = Reader(Shell(site.folder, monkeypatch), lambda: "".join(capfd.readouterr()))
    for block in blocks(page):
        reader.do(block)


def test_what_nobody_runs_is_little_and_has_a_reason() -> None:
    marked = [block.excuse for page in PAGES for block in blocks(page) if block.excuse]
    assert Counter(marked) == EXCUSES


def test_every_fence_is_a_block() -> None:
    for page in PAGES:
        fences = re.findall(r"^ *(?:```|~~~)", page.read_text(encoding="utf-8"), re.M)
        assert len(fences) == 2 * len(list(blocks(page))), f"{page.name}: a fence is indented"


def test_the_reference_is_what_the_code_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    import generate

    expected = generate.reference().splitlines()
    assert (DOCS / "reference.md").read_text(encoding="utf-8").splitlines() == expected, (
        f"docs/reference.md is stale: run {Path(sys.executable).name} docs/generate.py"
    )


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
