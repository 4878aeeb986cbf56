"""Masks of DICOM series as DICOM segmentations: placed as the images are, and nobody's name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from answers_support import ball, scanner, volume
from scans_support import write_series

from pseudolabel_kit.answers.predict import predict_studies
from pseudolabel_kit.answers.segmentation import Segmenter
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.scans.inputs import find_studies
from pseudolabel_kit.scans.study import Study
from pseudolabel_kit.scans.window import Window

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

TAGS = {
    "0020|0052": "1.2.826.5",
    "0008|0080": "Hospital^Geheim",
    "0008|0090": "Arzt^Otto",
    "0008|0050": "ACC-4711",
    "0020|0010": "STUDY-4711",
    "0008|0020": "20200203",
    "0010|0040": "F",
    "0010|1010": "059Y",
}
TELLING = (
    *("Doe", "Jane", "MRN4711", "19610203", "Geheim", "Otto"),
    *("ACC-4711", "STUDY-4711", "20200203", "059Y"),
)


def series(tmp_path: Path) -> Sequence[Study]:
    """A tree of one series, turned in space."""
    values = np.full((8, 20, 24), -90, np.int16)
    values[1:4, 5:16, 14:21] = 90  # off the centre along every axis
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(ball())
    turn = sitk.VersorTransform()
    turn.SetRotation((1.0, 2.0, 3.0), 0.4)
    image.SetDirection(turn.GetMatrix())
    write_series(tmp_path / "Doe_Jane", image, tags=TAGS)
    return find_studies([tmp_path / "Doe_Jane"], skip=tmp_path / "out").studies


def written(tmp_path: Path, *, keep_identity: bool = False) -> Path:
    studies = series(tmp_path)
    segmenter = Segmenter(keep_identity=keep_identity)
    predict_studies(scanner(segmenter=segmenter), studies, tmp_path / "out")
    (file,) = (tmp_path / "out" / "segmentations").iterdir()
    return file


def test_the_segmentation_lies_where_the_mask_does(tmp_path: Path) -> None:
    from highdicom.seg import segread

    file = written(tmp_path)
    mask = sitk.ReadImage(str(next((tmp_path / "out" / "masks").iterdir())))
    found = segread(file).get_volume(combine_segments=True, allow_missing_positions=True)
    lesion = np.argwhere(found.array > 0)
    assert len(lesion) == sitk.GetArrayFromImage(mask).sum() > 50
    values = {
        mask[mask.TransformPhysicalPointToIndex(point.tolist())]
        for point in found.map_indices_to_reference(lesion)
    }
    assert values == {1}


def test_series_without_a_preamble_are_segmented_too(tmp_path: Path) -> None:
    for study in series(tmp_path):
        for path in study.files:
            path.write_bytes(path.read_bytes()[132:])
    studies = find_studies([tmp_path / "Doe_Jane"], skip=tmp_path / "out").studies
    segmenter = Segmenter(keep_identity=True)
    predict_studies(scanner(segmenter=segmenter), studies, tmp_path / "out")
    (file,) = (tmp_path / "out" / "segmentations").iterdir()
    assert pydicom.dcmread(file).PatientID == "MRN4711"


def test_it_refers_to_the_series(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(written(tmp_path))
    assert dataset.StudyInstanceUID == "1.2.826.9"
    assert dataset.FrameOfReferenceUID == "1.2.826.5"
    assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.826.1"
    assert dataset.SegmentSequence[0].SegmentLabel == "lesion"


def test_nothing_that_is_written_names_the_patient(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path)
    outputs = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.name.partition(".")[0] for path in outputs} >= {file.stem, "studies"}
    said = "".join(capfd.readouterr())
    for word in TELLING:
        assert word not in said
        for path in outputs:
            assert word not in str(path.relative_to(tmp_path))
            if path.name != ".salt":
                assert word.encode() not in plain(path), f"{word} in {path.name}"
    dataset = pydicom.dcmread(file)
    assert (dataset.PatientName, dataset.PatientBirthDate, dataset.PatientSex) == ("", "", "")
    assert file.stem.startswith(dataset.PatientID)


def plain(path: Path) -> bytes:
    """A file's bytes; of a volume what its header says."""
    if path.suffix != ".gz":
        return path.read_bytes()
    image = sitk.ReadImage(str(path))
    return "".join(image.GetMetaData(key) for key in image.GetMetaDataKeys()).encode()


def test_the_identity_is_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(written(tmp_path, keep_identity=True))
    assert (dataset.PatientID, str(dataset.PatientName)) == ("MRN4711", "Doe^Jane")
    assert (dataset.PatientBirthDate, dataset.AccessionNumber) == ("19610203", "ACC-4711")


def test_an_empty_mask_is_a_segmentation_too(tmp_path: Path) -> None:
    how = scanner(segmenter=Segmenter())
    dark = replace(how, settings=replace(how.settings, window=Window(900, 20)))
    (answer,) = predict_studies(dark, series(tmp_path), tmp_path / "out").answers
    assert answer.lesion_ml == 0
    (file,) = (tmp_path / "out" / "segmentations").iterdir()
    assert not pydicom.dcmread(file).pixel_array.any()


def test_it_changes_no_number(tmp_path: Path) -> None:
    plain = scanner()
    assert plain.maker == replace(plain, segmenter=Segmenter()).maker
    (study,) = series(tmp_path)
    assert plain.stamp(study) != replace(plain, segmenter=Segmenter()).stamp(study)


def test_only_series_can_have_one(tmp_path: Path) -> None:
    study = volume(tmp_path / "x.nii.gz", ball())
    with pytest.raises(ConfigError, match="--seg: x is no DICOM series"):
        predict_studies(scanner(segmenter=Segmenter()), [study], tmp_path / "out")


def test_without_highdicom_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(ConfigError, match=r"pip install 'pseudolabel-kit\[seg\]'"):
        Segmenter().require([])


def test_headers_that_it_cannot_refer_to_are_named(tmp_path: Path) -> None:
    studies = series(tmp_path)
    for path in studies[0].files:
        dataset = pydicom.dcmread(path)
        del dataset.FrameOfReferenceUID
        dataset.save_as(path)
    with pytest.warns(UserWarning, match="cannot have a DICOM segmentation") as told:
        done = predict_studies(scanner(segmenter=Segmenter()), studies, tmp_path / "out")
    assert "Doe" not in str(told[0].message)
    assert len(done.answers) == len(list((tmp_path / "out" / "masks").iterdir())) == 1
    assert not (tmp_path / "out" / "segmentations").exists()
