from __future__ import annotations

from pathlib import Path

import pytest
from data_support import noise, write_manifest, write_png

from pseudolabel_kit.cli.main import call

SMALL = "phantom:size=32:patients=12"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLK_CACHE", str(tmp_path / "cache"))


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """Lines of the answer by their first word."""
    lines = capsys.readouterr().out.splitlines()
    return {line.split()[0]: line.split()[1:] for line in lines if line.strip()}


def test_the_phantom_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["data", "describe", "--data", SMALL]) == 0
    lines = told(capsys)
    assert " ".join(lines[f"{SMALL}:"]) == "24 images, 32x32 px, grey, stored in 8 bit"
    assert " ".join(lines["classes:"]) == "np, cap, covid19; lesions in: covid19; healthy: np, cap"
    assert lines["labelled"] == ["masks:", *lines["labelled"][1:]]
    assert lines["test"] == ["6", "3", "2", "2", "2", "-", "-", "-"]
    assert lines["all"] == ["24", "12", "8", "8", "8", "-", "-", "-"]
    assert " ".join(lines["patients:"]) == "none stands on two sides"
    assert lines["equal"][-1] == "none"
    assert len(lines["split"][0]) == 16


def test_what_a_manifest_lacks_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(3):
        write_png(tmp_path / f"{i}.png", noise(seed=i % 2))
    write_png(tmp_path / "mask.png", noise() * 0)
    write_manifest(
        tmp_path,
        [
            {"image": "0.png", "mask": "mask.png", "label": "ill", "split": "labelled"},
            {"image": "1.png", "split": "unlabelled"},
            {"image": "2.png", "label": "ill", "split": "test"},
        ],
    )
    assert call(["data", "describe", "--data", str(tmp_path)]) == 0
    lines = told(capsys)
    assert lines["all"] == ["3", "-", "2", "1", "2", "3"]
    assert lines["unlabelled"] == ["1", "-", "-", "1", "1", "1"]
    assert " ".join(lines["patients:"]) == "unknown for 3 images: one may be on two sides"
    assert lines["equal"][-3:] == ["0.png", "=", "2.png"]


def test_settings_change_what_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["data", "describe", "--data", SMALL]
    assert call([*command, "--set", "data.labelled=0.5", "--set", "data.size=16"]) == 0
    lines = told(capsys)
    assert lines[f"{SMALL}:"][2] == "16x16"
    assert lines["unlabelled"][0] == "6"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "no/such"], "plk: no/such does not exist"),
        (["--set", "data.labeled=0.1"], "did you mean 'data.labelled'"),
        (["--data", SMALL, "--set", "data.labelled=0"], "leaves no labelled row"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["data", "describe", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
