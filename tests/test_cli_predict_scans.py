"""`plk predict` on scans, with a run that was trained on an import."""

from __future__ import annotations

import csv
import json
import shutil
import warnings
from pathlib import Path

import pytest
import SimpleITK as sitk
from predict_support import noise, train_tiny, write_image
from scans_support import chest, write, write_covid, write_series

import pseudolabel_kit
from pseudolabel_kit.cli.main import call


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps on six imported scans."""
    folder = tmp_path_factory.mktemp("imported")
    write_covid(folder / "covid", *(f"case{i}" for i in range(6)), spacing=(8.0, 8.0, 10.0))
    line = ["data", "import", str(folder / "covid"), "--out", str(folder / "data")]
    assert call([*line, "--spacing", "4,4,10", "--size", "32", "--jobs", "1"]) == 0
    config = {
        "data": {"source": str(folder / "data"), "cache": str(folder / "c"), "labelled": 0.5},
        "method": {"backbone": "vgg-multiscale:width=0.125", "explainer": "caam"},
        "train": {"steps": 3, "batch_size": 2, "checkpoint_every": 1, "accelerator": "cpu"},
        "audit": {"rows": 2},
        "evaluate": {"bootstrap": 0, "figures": 1},
    }
    return pseudolabel_kit.train(config, out=folder / "run").folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_scan_is_read_as_the_run_was_taught(
    run: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = json.loads((run / "provenance.json").read_text())["imported"]
    assert (noted["spacing"], noted["size"]) == ([4, 4, 10], 32)
    scan = chest(seed=9)
    write(scan.image, Path("new.nii.gz"))
    write(scan.lungs, Path("lungs.nii.gz"))
    line = ["predict", str(run), "new.nii.gz", "--lungs", "lungs.nii.gz", "--out", "out"]
    assert call(line) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    for word in ("study", "class", "probability", "lesion, ml", "of the lung", "new", "of 8"):
        assert word in shown.out
    told = json.loads(Path("out/answers/new.json").read_text())
    assert told["made_by"]["settings"]["size"] == 32
    assert set(told["answer"]["probabilities"]) == {"lesion", "no_lesion"}
    mask = sitk.ReadImage("out/masks/new.nii.gz")
    assert mask.GetSize() == scan.image.GetSize()
    assert mask.GetOrigin() == pytest.approx(scan.image.GetOrigin())
    assert call(line) == 0
    assert "1 of them done before" in capsys.readouterr().out


def test_a_tree_of_series_is_answered_and_what_is_none_is_named(
    run: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = chest(seed=9).image
    write_series(Path("hospital/Doe_Jane/CT"), image, uid="1.1")
    write_series(Path("hospital/Doe_Jane/MR"), image, uid="1.2", tags={"0008|0060": "MR"})
    assert call(["predict", str(run), "hospital", "--out", "out"]) == 1
    shown = capsys.readouterr()
    assert "skipped: series" in shown.err
    assert "(MR, 8 files): modality MR; expected CT" in shown.err
    assert "Doe" not in shown.err + shown.out
    with Path("out/studies.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["study"].startswith(row["patient"])


def test_no_folder_that_is_called_after_a_patient_is_told(
    run: Path, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image = chest(seed=9).image
    write_series(Path("Doe_Jane"), image, uid="1.1")
    shutil.copytree("Doe_Jane", "Jane_D")  # the same export twice
    write_series(Path("Doe_J"), image, uid="1.2", slices=range(4))
    write_series(Path("J_Doe"), image, uid="1.2", slices=range(4, 8))
    folders = ["Doe_Jane", "Jane_D", "Doe_J", "J_Doe"]
    assert call(["predict", str(run), *folders, "--out", "out"]) == 0
    outputs = [path for path in Path("out").rglob("*") if path.is_file()]
    assert len(list(Path("out/answers").iterdir())) == 2
    said = "".join(capfd.readouterr())
    for word in ("Doe", "Jane", "J_"):
        assert word not in said
        assert not any(word in str(path) for path in outputs)
        plain = [path for path in outputs if path.suffix != ".gz" and path.name != ".salt"]
        assert not any(word.encode() in path.read_bytes() for path in plain)


def test_scans_and_pictures_together(run: Path, here: Path) -> None:
    write(chest().image, Path("scans", "new.nrrd"))
    write_image(Path("pictures", "x.png"), noise(40, 36))
    assert call(["predict", str(run), "scans", "pictures", "--out", "out"]) == 0
    assert {path.name for path in Path("out/masks").iterdir()} == {"new.nii.gz", "x.png"}
    assert Path("out/classes.csv").exists()


def test_a_run_of_no_import_takes_what_is_said(
    tmp_path_factory: pytest.TempPathFactory, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_tiny(tmp_path_factory.getbasetemp())
    write(chest().image, Path("new.mha"))
    line = ["predict", str(run), "new.mha", "--out"]
    with warnings.catch_warnings(action="default"):
        assert call([*line, "1", "--spacing", "8"]) == 0
    assert "not made by plk data import" in capsys.readouterr().err
    assert call([*line, "2", "--spacing", "8", "--window=-500/1400"]) == 0  # no warning
    told = json.loads(Path("2/answers/new.json").read_text())
    assert (told["window"], told["made_by"]["settings"]["spacing"]) == (
        {"level": -500, "width": 1400},
        [8, 8, 8],
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["x.png", "--seg"], "--seg is of scans, and INPUT holds none"),
        (["new.nii", "--keep-identity"], "--keep-identity is of DICOM segmentations"),
        (["new.nii", "--seg"], "--seg: new is no DICOM series"),
        (["new.nii", "--window", "lng"], "there is no window 'lng' (did you mean 'lung'?)"),
        (["new.nii", "--spacing", "0"], "--spacing 0: expected mm"),
        (["new.nii", "--lungs", "gone.nii"], "--lungs gone.nii: there is no such file"),
        (["new.nii", "--lungs", "new.nii"], "skipped: new.nii: is no mask: it holds -1"),
        (["x.png", "--window", "lung"], "--window is of scans, and INPUT holds none"),
        (["x.png", "--spacing", "1"], "--spacing is of scans, and INPUT holds none"),
        (["broken.nii"], "none of 1 studies can be used"),
    ],
)
def test_what_is_wrong_is_one_line_and_2(
    run: Path,
    here: Path,
    arguments: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_image(Path("x.png"), noise(40, 36))
    write(chest().image, Path("new.nii"))
    Path("broken.nii").write_bytes(b"nothing")
    assert call(["predict", str(run), *arguments, "--out", "out"]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert any(complaint in line for line in told)
    assert told[-1].startswith("plk: ")
    assert not list(Path().glob("out/masks/*"))


def test_python_writes_what_the_command_writes(run: Path, here: Path) -> None:
    write(chest(seed=9).image, Path("new.nii.gz"))
    write_image(Path("x.png"), noise(40, 40))
    Path("broken.nii").write_bytes(b"x")
    inputs = ["new.nii.gz", "x.png", "broken.nii"]
    assert call(["predict", str(run), *inputs, "--out", "told"]) == 1
    done = pseudolabel_kit.predict(run, inputs, "made")
    assert [each.study for each in done.scans] == ["new"]
    assert [each.name for each in done.pictures] == ["x"]
    assert [each.name for each in done.skipped] == ["broken"]
    made, told = (
        {path.relative_to(top) for path in top.rglob("*") if path.is_file()}
        for top in (Path("made"), Path("told"))
    )
    assert made == told
    for name in ("studies.csv", "classes.csv"):
        assert (Path("made") / name).read_bytes() == (Path("told") / name).read_bytes()


def test_all_that_cannot_be_used_is_told_and_pictures_are_predicted(
    run: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(Path("x.png"), noise(40, 36))
    for name in ("a.nii", "b.nii"):
        Path(name).write_bytes(b"nothing")
    assert call(["predict", str(run), "a.nii", "b.nii", "--out", "none"]) == 2
    assert [line.split(":")[1] for line in capsys.readouterr().err.splitlines()[-3:-1]] == [
        " a.nii",
        " b.nii",
    ]
    assert call(["predict", str(run), "a.nii", "b.nii", "x.png", "--out", "out"]) == 1
    assert capsys.readouterr().err.count("skipped: ") == 2
    assert Path("out/masks/x.png").exists()
