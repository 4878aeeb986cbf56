"""The site as its readers see it, built from the docs without a warning."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs_page import DOCS, PAGES

DRAWING = DOCS / "authors" / "step.svg"
NEAR = 3  # px that a tip may stand off


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without a warning."""
    out = tmp_path_factory.mktemp("site")
    line = ["sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", out / "trees"]
    done = subprocess.run(
        [sys.executable, "-m", *line, DOCS, out / "html"],
        capture_output=True,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    return out / "html"


def test_the_site_needs_no_network(built: Path) -> None:
    pages = list(built.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in [*pages, *built.rglob("*.css")]:
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(
            r"<(?:link|script|img)[^>]*=\"(?:https?:)?//[^>]*>|url\(.?https?:", text
        )
        assert not fetched, f"{page.name} asks the network: {fetched}"


def test_public_names_read_as_in_the_code(built: Path) -> None:
    page = html.unescape((built / "authors" / "api.html").read_text(encoding="utf-8"))
    text = " ".join(re.sub("<[^>]*>", "", page).split())
    assert "mask_channels – how many, K. background_weight –" in text
    assert "class pseudolabel_kit.interfaces.Model¶" in text
    assert "Attributes: image – (B,C,H,W) float in [0, 1]." in text
    assert "Variables:" not in text
    for given in ("Catalogue", "Evaluation", "Predictor", "Run"):
        assert re.search(rf'→</span>[^→]*<a class="reference internal"[^→]*{given}<', page), given


ARROWS = re.findall(r'<path class="a" d="([^"]*)"', DRAWING.read_text(encoding="utf-8"))
BOXES = re.findall(
    r'<rect class="(?:yours|kit|flow)" x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"',
    DRAWING.read_text(encoding="utf-8"),
)


@pytest.mark.parametrize("arrow", ARROWS)
def test_an_arrow_of_the_drawing_ends_at_a_box(arrow: str) -> None:
    x, y = end_of(arrow)
    assert any(
        -NEAR <= x - left <= width + NEAR and -NEAR <= y - top <= height + NEAR
        for left, top, width, height in (map(int, box) for box in BOXES)
    )


def end_of(path: str) -> tuple[int, int]:
    """Where a path of M, H, V and Q ends."""
    x = y = 0
    for command, told in re.findall(r"([MHVQ])([^MHVQ]*)", path):
        *_, last = numbers = [int(number) for number in told.split()]
        x = last if command == "H" else x if command == "V" else numbers[-2]
        y = y if command == "H" else last
    return x, y
