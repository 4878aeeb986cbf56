from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from scans_support import chest, write_covid, write_series

from pseudolabel_kit.cli.main import call

QUICK = ["--size", "16", "--spacing", "8,8,10", "--jobs", "1"]


def test_scans_become_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_covid(tmp_path / "source", "case1", "case2")
    line = ["data", "import", str(tmp_path / "source"), "--out", str(tmp_path / "out"), *QUICK]
    assert call(line) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.splitlines() == [
        "volumes: 2 studies; 16 images, 8 lesion, 8 no_lesion",
        f"manifest: {tmp_path / 'out' / 'manifest.csv'}",
    ]
    assert call([*line, "--label-from", "lesion", "--layout", "volumes"]) == 0
    assert "2 studies (2 done before); 16 images" in capsys.readouterr().out


def test_what_is_skipped_is_named_and_the_exit_code_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = chest((16, 16, 4)).image
    write_series(tmp_path / "source" / "Doe^Jane" / "CT", image, uid="1.1")
    write_series(
        tmp_path / "source" / "Doe^Jane" / "MR", image, uid="1.2", tags={"0008|0060": "MR"}
    )
    line = ["data", "import", str(tmp_path / "source"), "--out", str(tmp_path / "out"), *QUICK]
    for kept in ("", " (1 done before)"):
        assert call(line) == 1
        told = capsys.readouterr()
        assert told.out.startswith(f"dicom: 1 study{kept}; 1 skipped; 4 images\n")
        assert told.err.startswith("skipped: series ")
        assert "Jane" not in told.err
        assert told.err.endswith(": modality MR; expected CT\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "source does not exist; expected a folder"),
        (["--window", "bone"], "there is no window 'bone'; expected lung, mediastinal"),
        (["--spacing", "1,2"], "--spacing 1,2: expected mm, one number or three"),
        (["--spacing", "0"], "--spacing 0: expected mm"),
        (["--spacing", "nan"], "--spacing nan: expected mm"),
        (["--bits", "12"], "'12' is not one of '8', '16'"),
        (["--layout", "zip"], "'zip' is not one of 'decathlon'"),
        (["--size", "4"], "greater than or equal to 16"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["data", "import", str(tmp_path / "source"), "--out", str(tmp_path / "out")]
    assert call([*line, *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_scans_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_covid(tmp_path / "proj" / "images", "case1")
    files = sorted(tmp_path.rglob("*"))
    assert call(["data", "import", str(source), "--out", str(tmp_path / "proj"), *QUICK]) == 2
    error = capsys.readouterr().err
    assert f"{source}: lies in {tmp_path / 'proj'}; expected another folder" in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == files


def test_a_split_outlives_the_next_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_covid(tmp_path / "source", *(f"case{i}" for i in range(6)))
    out = str(tmp_path / "out")
    line = ["data", "import", str(tmp_path / "source"), "--out", out, *QUICK]
    assert call(line) == 0
    assert call(["data", "split", out, "--out", str(tmp_path / "out" / "seed1.csv")]) == 0
    assert call(["data", "split", out]) == 0
    manifest = tmp_path / "out" / "manifest.csv"
    before = manifest.read_bytes()
    assert call(line) == 0
    assert manifest.read_bytes() == before
    assert b",val," in before


def test_help_imports_nothing_heavy() -> None:
    check = (
        "import sys\n"
        "from pseudolabel_kit.cli.main import call\n"
        "assert call(['data', 'import', '--help']) == 0\n"
        "print([m for m in ('torch', 'numpy', 'SimpleITK') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check],
        capture_output=True,
        text=True,
        env={**os.environ},
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "plk data import hospital/ --out scans" in done.stdout
