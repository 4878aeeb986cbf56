from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from data_support import noise, write_png
from scans_support import chest, write, write_covid, write_series
from tiny import refused

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


def test_thin_lesions_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = chest((160, 160, 3), (1, 1, 10)).image
    mask = sitk.Image(scan.GetSize(), sitk.sitkUInt8)
    mask[41, 42, 1] = 1
    mask.CopyInformation(scan)
    write(scan, tmp_path / "source" / "a_ct.nii")
    write(mask, tmp_path / "source" / "a_mask.nii")
    assert (
        call(["data", "import", str(tmp_path / "source"), "--out", str(tmp_path / "out"), *QUICK])
        == 0
    )
    told = capsys.readouterr().out
    assert (
        "1 of 3 masks show a lesion thinner than a pixel at 16 px: it is kept as the pixels" in told
    )
    assert "1 lesion, 2 no_lesion" in told


@pytest.mark.parametrize("option", ["--window=lung", "--spacing=1", "--lesion=2"])
def test_what_means_nothing_for_pictures_is_refused(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("covid/1.png", "healthy/1.png"):
        write_png(tmp_path / "source" / name, noise(16, 16))
    line = ["data", "import", str(tmp_path / "source"), "--out", str(tmp_path / "out")]
    assert option.split("=")[0] + ": means nothing for the layout classes; leave it out" in refused(
        [*line, option], capsys
    )
    assert not (tmp_path / "out").exists()
    assert call([*line, "--size", "16"]) == 0


def test_mri_has_no_hu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = chest((16, 16, 4)).image
    write(image, tmp_path / "source" / "imagesTr" / "heart_1.nii.gz")
    (tmp_path / "source" / "dataset.json").write_text('{"modality": {"0": "MRI"}}')
    line = ["data", "import", str(tmp_path / "source"), "--out", str(tmp_path / "out"), *QUICK]
    told = "imagesTr/heart_1.nii.gz: is of modality MRI, which has no HU; expected CT, or --window"
    assert f"the first: {told} percentile" in refused(line, capsys)
    assert call([*line, "--window", "percentile"]) == 0
    facts = json.loads((tmp_path / "out" / "studies" / "heart_1.json").read_text())
    values = sitk.GetArrayFromImage(image)
    low, high = (facts["window"]["level"] + side * facts["window"]["width"] / 2 for side in (-1, 1))
    assert 0.002 < np.mean(values < low) < 0.008
    assert 0.002 < np.mean(values > high) < 0.008


@pytest.mark.parametrize(("taken", "left"), [("dicom", "volumes"), ("volumes", "dicom")])
def test_scans_of_two_kinds(
    taken: str, left: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """DICOM goes first, unless volumes lie as the Decathlon has them."""
    image = chest((16, 16, 4)).image
    write_series(tmp_path / "source" / "dicom", image)
    write(image, tmp_path / "source" / ("imagesTr" if left == "dicom" else "") / "Doe.nii")
    (tmp_path / "source" / "imagesTr").mkdir(exist_ok=True)
    (tmp_path / "source" / "dataset.json").write_text("{}")
    line = ["data", "import", str(tmp_path / "source"), *QUICK]
    assert call([*line, "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    assert "1 study; 1 skipped; 4 images" in told.out
    count = 4 if left == "dicom" else 1
    assert told.err == (
        f"skipped: {count} files of {left} are left out; take them with --layout {left} and "
        "another --out\n"
    )
    for layout in ("dicom", "volumes"):
        assert call([*line, "--out", str(tmp_path / layout), "--layout", layout]) == 0
        assert capsys.readouterr().err == ""


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
    split = ["data", "split", out, "--copies", "ignore"]  # the phantoms are alike
    assert call([*split, "--out", str(tmp_path / "out" / "seed1.csv")]) == 0
    assert call(split) == 0
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
