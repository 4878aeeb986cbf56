from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from check_support import Scans, square
from tiny import refused

from pseudolabel_kit.cli.main import call


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scans:
    """Scans of which two copies, a mask and an image are wrong."""
    monkeypatch.setenv("PLK_CACHE", str(tmp_path / "cache"))
    scans = Scans(tmp_path / "scans")
    scans.image(44, scans.pixels(0))
    scans.image(47, scans.pixels(5)[::-1])
    scans.mask(8, square(0, 12))
    scans.image(12, np.full((64, 64), 7))
    scans.write()
    return scans


def test_findings_are_told_with_their_rows(
    scans: Scans, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["data", "check", "--data", str(scans.folder)]) == 1
    told = capsys.readouterr().out
    assert "sides, as the dataset names them: 32 train, 8 val, 8 test" in told
    for line in (
        "error: copies across sides: 1 pair",
        "  images/00.png (train, ill) = images/44.png (test, ill)",
        "  images/08.png (train, ill): 100% outside",
        "  images/12.png (train, ill): grey 0.027",
        "1 error, 4 warnings",
    ):
        assert line in told.splitlines(), line
    assert re.search(r"images/05.*= images/47.*: \d+ of 255 bits differ, upside down\n", told)
    assert told.count("  fix: ") == 5


def test_programs_get_every_row(scans: Scans, capsys: pytest.CaptureFixture[str]) -> None:
    for row in range(20, 30):
        scans.image(row, np.full((64, 64), row))
    assert call(["data", "check", "--data", str(scans.folder), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["sound"], told["sides_drawn"]) == (48, False, False)
    found = {each["kind"]: each for each in told["findings"]}
    assert found["constant-image"]["rows"] == len(found["constant-image"]["cases"]) == 11
    assert found["copies-across-sides"]["severity"] == "error"
    (case,) = found["copies-across-sides"]["cases"]
    assert case["rows"] == [
        {"row": 1, "name": "images/00.png", "side": "train", "label": "ill"},
        {"row": 45, "name": "images/44.png", "side": "test", "label": "ill"},
    ]


def test_what_is_sound_ends_with_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLK_CACHE", str(tmp_path / "cache"))
    folder = Scans(tmp_path / "scans").write()
    assert call(["data", "check", "--data", str(folder), "--html", str(tmp_path / "c.html")]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "nothing found",
        f"page: {tmp_path}/c.html",
    ]
    assert "<h2>Nothing found</h2>" in (tmp_path / "c.html").read_text()


def test_the_page_shows_rows_and_names_no_file(scans: Scans, tmp_path: Path) -> None:
    page = tmp_path / "new" / "check.html"
    assert call(["data", "check", "--data", str(scans.folder), "--html", str(page)]) == 1
    text = page.read_text(encoding="utf-8")
    visible = re.sub(r'src="data:[^"]*"', "", text)
    assert "<h1>scans</h1>" in text
    assert "<h2>1 error, 4 warnings</h2>" in text
    assert "image 45<br>test · ill" in text
    assert len(re.findall(r'<img src="data:image/jpeg;base64,', text)) == 2 + 2 + 2 + 1 + 1
    assert not re.search(r"\d\d\.png|\bP\d+\b", visible)
    assert not re.search(r'(?:src|href)="(?!data:|#)|@import|url\(|<script', text)
    assert "prefers-color-scheme: dark" in text
    targets = set(re.findall(r'href="#([^"]+)"', text))
    assert targets <= set(re.findall(r'id="([^"]+)"', text))


def test_the_page_shows_the_first_cases(scans: Scans, tmp_path: Path) -> None:
    for row in range(20, 35):
        scans.image(row, np.full((64, 64), row))
    page = tmp_path / "check.html"
    call(["data", "check", "--data", str(scans.folder), "--html", str(page)])
    assert '<p class="hint">and 4 more</p>' in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "no/such"], "no/such does not exist"),
        (["--set", "data.siez=3"], "did you mean 'data.size'"),
    ],
)
def test_mistakes_are_one_line_and_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(["data", "check", *arguments], capsys)
