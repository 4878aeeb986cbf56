"""Scans that a command line names, and how they are read for a run."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from predict_support import noise, write_image
from scans_support import chest, write, write_covid, write_series

from pseudolabel_kit.data.imported import FILE, import_settings
from pseudolabel_kit.errors import DataError, RunError
from pseudolabel_kit.scans.importing import import_scans
from pseudolabel_kit.scans.inputs import DEFAULTS, find_studies, settings_for
from pseudolabel_kit.scans.scan import Scan
from pseudolabel_kit.scans.window import WINDOWS

IMAGE = chest().image
NO_IMAGE = "a DICOM file (1 such): is damaged or no image, as a report; expected CT slices"


def names(*paths: Path, out: Path) -> list[str]:
    return [study.name for study in find_studies(paths, skip=out).studies]


def test_a_volume_is_a_study_by_its_name(tmp_path: Path) -> None:
    write(IMAGE, tmp_path / "a.nii.gz", tmp_path / "b.nrrd", tmp_path / "c.mha")
    files = [tmp_path / name for name in ("a.nii.gz", "b.nrrd", "c.mha")]
    assert names(*files, out=tmp_path / "out") == ["a", "b", "c"]
    assert names(tmp_path, out=tmp_path / "out") == ["a", "b", "c"]
    assert not (tmp_path / "out").exists()


def test_volumes_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(IMAGE, one / "ct.nii.gz", two / "ct.nii.gz")
    inputs = [one / "ct.nii.gz", two / "ct.nii.gz", two]  # the last two are the same
    assert names(*inputs, out=tmp_path) == ["ct", "two-ct"]


def test_masks_beside_volumes_come_with_them(tmp_path: Path) -> None:
    source = write_covid(tmp_path / "covid", "case1")
    (study,) = find_studies([source], skip=tmp_path / "out").studies
    assert isinstance(study, Scan)
    assert study.region == source / "Lung_Mask" / "case1.nii.gz"


def test_series_have_pseudonyms_that_stay(tmp_path: Path) -> None:
    series = tmp_path / "Doe_Jane"
    files = write_series(series / "1", IMAGE) + write_series(series / "2", IMAGE, uid="1.2.826.2")
    in_folder = names(series, out=tmp_path / "out")
    assert len(set(in_folder)) == 2
    assert names(*files, out=tmp_path / "out") == in_folder
    assert not any("Doe" in name or "MRN" in name for name in in_folder)


def test_a_series_in_two_folders_is_one_study(tmp_path: Path) -> None:
    lower, upper = tmp_path / "Doe_Jane", tmp_path / "Jane_D"
    write_series(lower, IMAGE, slices=range(4))
    write_series(upper, IMAGE, slices=range(4, 8))
    found = find_studies([lower, upper], skip=tmp_path / "out")
    (study,) = found.studies
    assert len(study.files) == 8
    assert not found.skipped
    assert len(study.slices(replace(DEFAULTS, spacing=(8, 8, 10), size=32)).images) == 8
    assert names(tmp_path, out=tmp_path / "out") == [study.name]


def test_copies_of_a_series_count_once(tmp_path: Path) -> None:
    first, second = tmp_path / "Doe_Jane", tmp_path / "Jane_D"
    write_series(first, IMAGE)
    shutil.copytree(first, second)
    (second / "IM0003.dcm").rename(second / "copy.dcm")
    found = find_studies([first, second, *first.iterdir()], skip=tmp_path / "out")
    (study,) = found.studies
    assert {path.parent for path in study.files} == {first}
    assert not found.skipped


def test_a_series_that_was_changed_in_a_copy_is_refused_by_its_pseudonym(tmp_path: Path) -> None:
    write_series(tmp_path / "Doe_Jane", IMAGE)
    write_series(tmp_path / "Jane_D", chest(seed=1).image)
    (study,) = find_studies(list(tmp_path.iterdir()), skip=tmp_path / "out").studies
    with pytest.raises(DataError, match="several slices at") as raised:
        study.slices(DEFAULTS)
    assert study.name in str(raised.value)
    assert not re.search("Doe|Jane", str(raised.value))


def test_a_volume_does_not_lend_a_series_its_folder(tmp_path: Path) -> None:
    write_series(tmp_path / "Doe_Jane", IMAGE)
    (pseudonym,) = names(tmp_path / "Doe_Jane", out=tmp_path / "out")
    write(IMAGE, tmp_path / "volumes" / f"{pseudonym}.nii")
    found = names(tmp_path / "volumes", tmp_path / "Doe_Jane", out=tmp_path / "out")
    assert found == [pseudonym, f"volumes-{pseudonym}"]


def test_what_is_not_read_of_a_folder_is_told(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(IMAGE, source / "a.nii", source / "b.nii")
    write_series(source, IMAGE)
    write_image(source / "x.png", noise(20, 20))
    found = find_studies([source], skip=tmp_path / "out")
    assert [each.reason for each in found.skipped] == [
        "2 files of volumes are left out; name them one by one",
        "1 pictures among scans are left out; name them one by one",
    ]


@pytest.mark.parametrize("named", ["disc", "disc/DICOMDIR"])
def test_a_table_of_contents_is_told_where_nothing_else_is_found(
    named: str, tmp_path: Path
) -> None:
    disc = tmp_path / "disc"
    disc.mkdir()
    (disc / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(50))
    found = find_studies([tmp_path / named], skip=tmp_path / "out")
    assert [each.reason for each in found.skipped] == [NO_IMAGE]
    assert not found.pictures
    write_series(disc / "CT", IMAGE)
    found = find_studies([tmp_path / named, disc / "CT"], skip=tmp_path / "out")
    assert (len(found.studies), len(found.skipped)) == (1, 0)


def test_a_slice_is_no_table_of_contents_by_its_name(tmp_path: Path) -> None:
    first, *_ = write_series(tmp_path / "disc", IMAGE)
    first.rename(first.with_name("DICOMDIR"))
    (study,) = find_studies([tmp_path / "disc"], skip=tmp_path / "out").studies
    assert len(study.files) == 8


@pytest.mark.parametrize(
    ("beside", "pictures"), [("", False), ("x.txt", False), ("x.png", True), ("x.npy", True)]
)
def test_what_is_called_dicom_and_is_none_is_told_of_any_folder(
    beside: str, pictures: bool, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.dcm").write_bytes(b"junk" * 99)
    if beside:
        (source / beside).touch()
    found = find_studies([source], skip=tmp_path / "out")
    assert [each.reason for each in found.skipped] == [NO_IMAGE]
    assert found.pictures == [source] * pictures
    write(IMAGE, source / "scan.nii")
    reasons = [each.reason for each in find_studies([source], skip=tmp_path / "out").skipped]
    assert reasons[0] == "1 files of dicom are left out; name them one by one"


def test_what_holds_no_scan_is_left_to_the_reader_of_pictures(tmp_path: Path) -> None:
    picture = write_image(tmp_path / "pictures" / "x.png", noise(20, 20))
    write(IMAGE, tmp_path / "scan.nii")
    found = find_studies([picture, picture.parent, tmp_path / "scan.nii"], skip=tmp_path / "out")
    assert found.pictures == [picture, picture.parent]
    assert [study.name for study in found.studies] == ["scan"]


def test_outputs_are_no_inputs(tmp_path: Path) -> None:
    write(IMAGE, tmp_path / "x.nii.gz", tmp_path / "out" / "x" / "mask.nii.gz")
    assert names(tmp_path, out=tmp_path / "out") == ["x"]


def test_a_path_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.nii: there is no such file or folder"):
        find_studies([tmp_path / "gone.nii"], skip=tmp_path / "out")


def test_scans_are_read_as_the_dataset_was_imported(tmp_path: Path) -> None:
    settings = replace(DEFAULTS, spacing=(8, 8, 10), size=24, window=WINDOWS["mediastinal"])
    import_scans(write_covid(tmp_path / "covid", "case1"), tmp_path / "data", settings)
    noted = import_settings(str(tmp_path / "data" / "manifest.csv"))
    assert noted == import_settings(str(tmp_path / "data"))
    assert noted["layout"] == "volumes"
    assert replace(settings_for(noted), label_from=None) == settings
    other = settings_for(noted, window=WINDOWS["lung"], spacing=(1, 1, 2))
    assert (other.window, other.spacing, other.size) == (WINDOWS["lung"], (1, 1, 2), 24)


def test_without_an_import_its_defaults_are_warned_of(tmp_path: Path) -> None:
    assert import_settings(str(tmp_path)) is None
    with pytest.warns(UserWarning, match="not made by plk data import"):
        assert settings_for(None) == DEFAULTS
    with warnings.catch_warnings():
        settings_for(None, window=WINDOWS["lung"], spacing=(1, 1, 1))


@pytest.mark.parametrize("content", [b"", b'{"window": ', b"[1]", b"\xff\xfe"])
def test_a_damaged_note_of_an_import_is_named(content: bytes, tmp_path: Path) -> None:
    """It is not taken for none, which would be the defaults."""
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(DataError, match=r"import\.json: is damaged; expected what plk data import"):
        import_settings(str(tmp_path))


def test_a_dataset_of_a_plugin_has_no_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE).write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert import_settings("phantom:size=32") is None


def test_settings_that_were_damaged_are_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({"window": "wide"}))
    with pytest.raises(RunError, match="import settings cannot be read"):
        settings_for(import_settings(str(tmp_path)))
