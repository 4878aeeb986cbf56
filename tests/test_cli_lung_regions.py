from __future__ import annotations

import json
from pathlib import Path

import pytest
from lung_dataset import EXPERT, write_chest
from tiny import refused

from pseudolabel_kit.cli.main import call
from pseudolabel_kit.data.table import read_table


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    write_chest(tmp_path / "scans")
    return tmp_path / "scans"


def lungs(folder: Path, *more: str) -> list[str]:
    return ["data", "lungs", "--data", str(folder), "--jobs", "1", *more]


def test_regions_are_made_and_misses_named(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(lungs(scans)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "regions: 4 made; 2 kept; 1 without lungs",
        "  no lung found: images/muscle.png",
        f"manifest: {scans / 'manifest.csv'}",
    ]
    assert call(lungs(scans, "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["made"], told["kept"], told["none_found"]) == (0, 6, ["images/muscle.png"])
    assert call(["data", "describe", "--data", str(scans), "--set", "data.mask=region"]) == 0


def test_agreement_is_with_the_experts_regions_alone(
    scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regions made here would agree with themselves."""
    assert call(lungs(scans)) == 0
    before = (scans / "manifest.csv").read_bytes()
    capsys.readouterr()
    page = scans.parent / "lungs.html"
    assert call(lungs(scans, "--check", "--html", str(page))) == 0
    shown = capsys.readouterr().out
    rows = {
        cells[0]: cells[1:]
        for line in shown.splitlines()
        if (cells := line.replace("│", "").split())
    }
    assert rows["all"][1] == str(len(EXPERT))
    assert rows["p0"][1] == rows["p1"][1] == rows["val"][1] == "1"
    assert float(rows["all"][3]) > 0.95
    assert "least agreement, threshold:" in shown
    assert (scans / "manifest.csv").read_bytes() == before
    text = page.read_text()
    assert text.count("<img") == len(EXPERT)
    assert "patient 2" in text
    assert ">p0<" not in text
    assert call(lungs(scans, "--check", "--json")) == 0
    told = json.loads(capsys.readouterr().out)["methods"]["threshold"]
    assert set(told["images"]) == {f"images/{i}.png" for i in EXPERT}
    assert told["dice"]["all"]["least"] == min(told["images"].values())
    assert set(told["patients"]) == {"p0", "p1"}


def test_a_run_that_learnt_regions_draws_them(
    scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = scans.parent / "run"
    small = ["--backbone", "vgg-multiscale:width=0.0625", "--recipe", "supervised"]
    chosen = ["data.mask=region", "train.batch_size=2", "evaluate.bootstrap=0", "data.size=32"]
    settings = [word for each in chosen for word in ("--set", each)]
    line = ["train", "--data", str(scans), *small, *settings, "--steps", "2", "--out", str(run)]
    assert call(line) == 0
    capsys.readouterr()
    assert call(lungs(scans, "--check", "--model", str(run))) == 0
    assert "run run" in capsys.readouterr().out
    assert call(lungs(scans, "--model", str(run), "--overwrite")) == 0
    made = {line.region_by for line in read_table(scans / "manifest.csv")}
    assert made <= {"", "run run"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--html", "x.html"], "expected --check beside it"),
        (["--check", "--overwrite"], "expected neither --out nor --overwrite"),
        (["--out", "../x"], "expected a folder below"),
        (["--model", "no/run"], "no/run"),
    ],
)
def test_mistakes_are_one_line(
    scans: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(lungs(scans, *more), capsys)


def test_where_nobody_drew_lungs_nothing_can_be_compared(
    scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scans / "manifest.csv").write_text("image\nimages/1.png\n")
    assert "no row came with a region" in refused(lungs(scans, "--check"), capsys)
