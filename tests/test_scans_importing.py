"""From a source folder to a dataset: whole studies, kept, redone or left out."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from filelock import FileLock
from PIL import Image
from scans_support import chest, placed, write, write_covid, write_series

from pseudolabel_kit.data.manifest import Manifest
from pseudolabel_kit.errors import DataError, RunError
from pseudolabel_kit.scans import convert
from pseudolabel_kit.scans.choices import LabelFrom, LayoutName
from pseudolabel_kit.scans.geometry import Geometry
from pseudolabel_kit.scans.importing import Imported, import_scans
from pseudolabel_kit.scans.study import Settings
from pseudolabel_kit.scans.window import WINDOWS

SETTINGS = Settings(
    spacing=(8, 8, 10), size=24, window=WINDOWS["lung"], bits=8, lesion=(), label_from=None
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_covid(tmp_path / "source", "case1", "case2")


def run(source: Path, out: Path, settings: Settings = SETTINGS, jobs: int = 1) -> Imported:
    return import_scans(source, out, settings, jobs=jobs)


def read_rows(out: Path) -> list[dict[str, str]]:
    with (out / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def fill_in(out: Path, **cells: str) -> None:
    """Into every row, as a spreadsheet saves it."""
    rows = [row | cells for row in read_rows(out)]
    with (out / "manifest.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    unlike = ("manifest.csv", "import.json", ".lock")
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in unlike)
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in files
    }


def test_the_dataset_is_one_that_the_manifest_reads(source: Path, tmp_path: Path) -> None:
    imported = run(source, tmp_path / "out")
    assert (imported.studies, imported.kept, imported.skipped) == (2, 0, [])
    dataset = Manifest(path=str(tmp_path / "out"))
    rows = dataset.rows()
    assert dataset.classes == ("lesion", "no_lesion")
    assert [row.name for row in rows[:2]] == ["images/case1/0000.png", "images/case1/0001.png"]
    assert {row.patient for row in rows} == {"case1", "case2"}
    assert all(row.split is None and row.has_mask and row.has_region for row in rows)
    sample, row = dataset.read(0), rows[0]
    assert sample.image.shape == (1, 24, 24)
    assert sample.mask is not None
    assert sample.region is not None
    assert sample.mask.any() == (row.label == 0)
    assert (sample.mask <= sample.region).all()
    lung = sample.image[sample.region & ~sample.mask]
    assert lung.mean() * 1500 - 1350 == pytest.approx(-850, abs=10)
    assert sample.image[sample.mask].mean() * 1500 - 1350 == pytest.approx(-300, abs=10)


def test_masks_find_their_way_back(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "studies" / "case2.json").read_text())
    geometry = Geometry.from_json(facts["geometry"])
    files = [tmp_path / "out" / row["mask"] for row in facts["rows"]]
    slices = np.stack([np.asarray(Image.open(file)) for file in files])
    back = geometry.back(slices)
    original = sitk.ReadImage(str(source / "Infection_Mask" / "case2.nii.gz"))
    same = sitk.GetArrayFromImage(back) // 255 == sitk.GetArrayFromImage(original)
    assert same.all()
    assert back.GetOrigin() == original.GetOrigin()
    assert facts["window"] == {"level": -600, "width": 1500}


def test_what_is_done_is_kept_and_what_changed_is_redone(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(source, out)
    before = snapshot(out)
    assert run(source, out).kept == 2
    assert snapshot(out) == before
    write(chest((24, 20, 6)).image, source / "COVID-19-CT-Seg_20cases" / "case1.nii.gz")
    for folder in ("Lung_Mask", "Infection_Mask"):
        write(chest((24, 20, 6)).lungs, source / folder / "case1.nii.gz")
    imported = run(source, out)
    assert (imported.kept, len(imported.rows)) == (1, 6 + 8)
    assert len(list((out / "images" / "case1").iterdir())) == 6
    assert run(source, out, replace(SETTINGS, bits=16)).kept == 0
    assert np.asarray(Image.open(out / "images/case1/0003.png")).max() > 255


def test_an_import_that_was_stopped_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, write_text = tmp_path / "out", convert.write_text

    def stop(path: Path, text: str) -> None:
        if path.name == "case2.json":
            raise KeyboardInterrupt
        write_text(path, text)

    monkeypatch.setattr(convert, "write_text", stop)
    with pytest.raises(KeyboardInterrupt):
        run(source, out)
    assert not (out / "manifest.csv").exists()
    monkeypatch.undo()
    assert run(source, out).kept == 1
    run(source, tmp_path / "other")
    assert set(snapshot(out)) == set(snapshot(tmp_path / "other"))


def test_processes_write_the_same(source: Path, tmp_path: Path) -> None:
    (source / "Lung_Mask" / "case2.nii.gz").write_bytes(b"broken")
    imported = [run(source, tmp_path / str(jobs), jobs=jobs) for jobs in (1, 2)]
    assert imported[0] == imported[1]
    for file in snapshot(tmp_path / "1"):
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()


def test_a_broken_study_is_left_out_whole(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(chest((12, 10, 8), (8, 8, 10)).lungs, source / "Lung_Mask" / "case1.nii.gz")
    imported = run(source, out)
    assert [each.reason for each in imported.skipped] == [
        "Lung_Mask/case1.nii.gz: 12x10x8 voxels of 8x8x10 mm from (-90, -80, 100), another grid "
        "than the 24x20x8 voxels of 8x8x10 mm from (-90, -80, 100) of its image"
    ]
    assert {row["study"] for row in imported.rows} == {"case2"}
    assert not [file for file in snapshot(out) if "case1" in file]


def test_a_study_that_broke_since_is_no_longer_listed(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    (source / "Lung_Mask" / "case1.nii.gz").write_bytes(b"broken")
    assert {row["study"] for row in run(source, tmp_path / "out").rows} == {"case2"}
    with (tmp_path / "out" / "manifest.csv").open() as file:
        assert {row["study"] for row in csv.DictReader(file)} == {"case2"}


def test_splits_that_were_filled_in_are_kept(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(source, out)
    fill_in(out, split="val", patient="p7", label="other")
    filled = read_rows(out)
    rows = run(source, out).rows
    assert rows == read_rows(out)
    assert [row["split"] for row in rows] == ["val"] * len(filled)
    assert {row["patient"] for row in rows} == {"case1", "case2"}
    assert {row["label"] for row in rows} == {"lesion", "no_lesion"}
    write_covid(source, "case3")
    rows = run(source, out).rows
    assert rows == read_rows(out)
    assert {(row["study"], row["split"]) for row in rows} == {
        ("case1", "val"),
        ("case2", "val"),
        ("case3", ""),
    }


def test_labels_and_patients_that_no_import_knows_are_kept(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    for name in ("images/a.png", "images/b.png", "masks/a.png", "masks/b.png"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (24, 24)).save(source / name)
    settings = replace(SETTINGS, label_from=LabelFrom.NONE)
    assert {row["patient"] + row["label"] for row in run(source, out, settings).rows} == {""}
    fill_in(out, label="cyst", patient="p7")
    rows = run(source, out, settings).rows
    assert [(row["patient"], row["label"]) for row in rows] == [("p7", "cyst")] * 2


def test_columns_of_one_s_own_are_kept(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(source, out)
    fill_in(out, age="61", **{"read by": "Ä, twice"})
    before = run(source, out).rows
    write_covid(source, "case3")
    rows = run(source, out).rows
    assert rows == read_rows(out)
    assert rows[: len(before)] == before
    assert {(row["study"], row["age"], row["read by"]) for row in rows} == {
        ("case1", "61", "Ä, twice"),
        ("case2", "61", "Ä, twice"),
        ("case3", "", ""),
    }
    assert run(source, out).rows == rows


def test_a_region_that_was_found_since_is_kept_while_its_picture_is_there(
    tmp_path: Path,
) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    (source / "images").mkdir(parents=True)
    Image.new("L", (24, 24)).save(source / "images" / "a.png")
    settings = replace(SETTINGS, label_from=LabelFrom.NONE)
    run(source, out, settings)
    (out / "regions").mkdir()
    (out / "regions" / "found.png").write_bytes(b"")
    fill_in(out, region="regions/found.png", region_by="threshold")
    (row,) = run(source, out, settings).rows
    assert (row["region"], row["region_by"]) == ("regions/found.png", "threshold")
    (out / "regions" / "found.png").unlink()
    assert run(source, out, settings).rows[0]["region"] == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image;split\nimages/case1/0000.png;val\n", "has no column 'image'; mend it"),
        ("image,patient\nimages/case1/0000.png,Müller\n", "is not CSV in UTF-8; mend it"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_not_replaced(
    text: str, said: str, source: Path, tmp_path: Path
) -> None:
    run(source, tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.csv"
    manifest.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=said):
        run(source, tmp_path / "out")
    assert manifest.read_text(encoding="latin-1") == text


def test_two_imports_into_one_folder(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with (
        FileLock(out / ".lock"),
        pytest.raises(RunError, match="out: another process is importing into it"),
    ):
        run(source, out)
    assert run(source, out).studies == 2
    assert run(source, out).kept == 2


@pytest.mark.parametrize("spacing", [0.01, 9000.0])
def test_a_spacing_that_is_not_in_mm(spacing: float, tmp_path: Path) -> None:
    write(chest((16, 16, 4), (spacing,) * 3).image, tmp_path / "source" / "a.nii")
    with pytest.raises(DataError, match=r"a\.nii: 16x16x4 voxels .* is its spacing in mm"):
        run(tmp_path / "source", tmp_path / "out")


def test_nothing_that_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.nii").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"none of 1 studies can be used; the first: a\.nii: cannot"
    ):
        run(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.csv").exists()


def test_nothing_of_the_layout_that_was_asked_for(tmp_path: Path) -> None:
    write(chest((16, 16, 4)).image, tmp_path / "source" / "a.nii")
    with pytest.raises(DataError, match=r"source: holds no study of the layout dicom$"):
        import_scans(tmp_path / "source", tmp_path / "out", SETTINGS, layout=LayoutName.DICOM)


@pytest.mark.parametrize(
    ("lesion", "label_from", "labels"),
    [
        ((), LabelFrom.LESION, {"lesion"}),
        ((2,), LabelFrom.LESION, {"lesion", "no_lesion"}),
        ((7,), LabelFrom.LESION, {"no_lesion"}),
        ((), LabelFrom.FOLDER, {"images"}),
        ((), LabelFrom.NONE, {""}),
    ],
)
def test_labels(
    lesion: tuple[int, ...], label_from: LabelFrom, labels: set[str], tmp_path: Path
) -> None:
    values = np.ones((4, 16, 16), np.uint8)
    values[2, 5] = 2
    write(placed(values), tmp_path / "source" / "masks" / "a.nii")
    write(placed(values * np.int16(-9)), tmp_path / "source" / "images" / "a.nii")
    settings = Settings(
        spacing=(1, 1, 1), size=16, window=WINDOWS["lung"], bits=8, lesion=lesion,
        label_from=label_from,
    )  # fmt: skip
    rows = run(tmp_path / "source", tmp_path / "out", settings).rows
    assert {row["label"] for row in rows} == labels


def test_names_that_only_some_file_systems_tell_apart(tmp_path: Path) -> None:
    for name in ("a b.nii", "A-b.nii"):
        write(chest((16, 16, 4)).image, tmp_path / "source" / name)
    imported = run(tmp_path / "source", tmp_path / "out")
    assert [each.reason for each in imported.skipped] == ["a-b: two studies are called so"]


def test_no_patient_is_named_anywhere(tmp_path: Path) -> None:
    write_series(tmp_path / "source" / "Doe_Jane" / "x", chest((16, 16, 4)).image)
    run(tmp_path / "source", tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        words = str(path.relative_to(tmp_path)) + (
            path.read_text(errors="ignore") if path.is_file() and path.suffix != ".png" else ""
        )
        assert not any(word in words for word in ("Doe", "Jane", "MRN4711", "19610203"))


def test_folders_that_are_not_ours(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lies in the source"):
        run(source, source / "out")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file; expected a folder for --out"):
        run(source, tmp_path / "file")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"holds thesis\.tex; expected a new folder"):
        run(source, tmp_path / "home")
    run(source, tmp_path / "out")
    other = write_covid(tmp_path / "more", "case9")
    with pytest.raises(DataError, match="holds the study case1, which the source does not"):
        run(other, tmp_path / "out")


@pytest.mark.parametrize("place", [".", "images", "images/deep"])
def test_a_source_in_the_folder_that_is_written(place: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    source = write_covid(home / place, "case1")
    (home / "studies").mkdir()
    (tmp_path / "link").symlink_to(home)
    before = snapshot(home)
    for out in (home, tmp_path / "link"):
        with pytest.raises(DataError, match=r"lies in .*; expected another folder for --out"):
            run(source, out)
    assert snapshot(home) == before


@pytest.mark.parametrize("name", ["images", "masks", "regions", "manifest.csv", "a.html"])
def test_a_folder_that_only_looks_like_ours(name: str, source: Path, tmp_path: Path) -> None:
    (tmp_path / "home" / name).mkdir(parents=True)
    with pytest.raises(RunError, match=rf"holds {name}; expected a new folder, or one of an"):
        run(source, tmp_path / "home")


@pytest.mark.parametrize("name", [".import", ".lock", ".manifest.csv.12.part"])
def test_what_a_stopped_import_leaves(name: str, source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).mkdir() if name == ".import" else (tmp_path / "out" / name).touch()
    assert run(source, tmp_path / "out").studies == 2


def test_tables_and_reports_may_lie_beside_the_manifest(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")
    for name in ("seed1.csv", "report.html"):
        (tmp_path / "out" / name).write_text(name)
    assert run(source, tmp_path / "out").kept == 2
    assert (tmp_path / "out" / "seed1.csv").read_text() == "seed1.csv"
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"holds thesis\.tex; expected a new folder"):
        run(source, tmp_path / "out")
