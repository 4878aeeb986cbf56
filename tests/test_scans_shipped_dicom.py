"""The small DICOM files that pydicom ships, of many makers: each is read, or left out aloud.

They are found in the folder of the installed package; nothing here asks pydicom for a file, which
might fetch it.
"""

from __future__ import annotations

import filecmp
import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scans_support import chest, write_series

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.choices import LayoutName
from pseudolabel_kit.scans.importing import import_scans
from pseudolabel_kit.scans.inputs import DEFAULTS, find_studies
from pseudolabel_kit.scans.scan import Series
from pseudolabel_kit.scans.series import read_series

pydicom = pytest.importorskip("pydicom", reason="needs pydicom (seg)")

DATA = Path(pydicom.__file__).parent / "data"
FOLDERS = ("test_files", "charset_files", "palettes")
FILES = sorted(
    path
    for folder in FOLDERS
    for path in (DATA / folder).rglob("*")
    if path.is_file()
    and path.suffix in ("", ".dcm")
    and "TINY_ALPHA" not in path.parts  # 50 alike
    and path.name != "DICOMDIR"
)
SETTINGS = replace(DEFAULTS, size=16, spacing=(0.4, 0.4, 2.5))  # the series is of 8 mm
SINGLE = "(CT, 1 file): a single slice; expected a volume"
NO_IMAGE = "a DICOM file (1 such): is damaged or no image, as a report; expected CT slices"
REASONS = {
    "CT_small.dcm": SINGLE,
    "693_J2KI.dcm": SINGLE,
    "J2K_pixelrep_mismatch.dcm": SINGLE,
    "6293": "(CT, 1 file): a localiser; expected a volume",
    "MR_small.dcm": "(MR, 1 file): modality MR; expected CT",
    "MR_small_bigendian.dcm": "(MR, 1 file): modality MR; expected CT",
    "MR_small_RLE.dcm": "(MR, 1 file): modality MR; expected CT",
    "JPEG-lossy.dcm": "(NM, 1 file): modality NM; expected CT",
    "examples_rgb_color.dcm": "(US, 1 file): modality US; expected CT",
    "SC_rgb_rle_2frame.dcm": "(OT, 1 file): modality OT; expected CT",
    "image_dfl.dcm": "(OT, 1 file): modality OT; expected CT",
    "liver_1frame.dcm": "(SEG, 1 file): modality SEG; expected CT",
    "rtdose.dcm": "(RTDOSE, 1 file): modality RTDOSE; expected CT",
    "JPEGLSNearLossless_08.dcm": "(unknown, 1 file): modality unknown; expected CT",
    **dict.fromkeys(
        [
            *("rtplan.dcm", "rtplan_truncated.dcm", "rtstruct.dcm", "test-SR.dcm"),
            *("waveform_ecg.dcm", "MR_truncated.dcm", "hotiron.dcm"),
            *("no_meta.dcm", "ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm"),
        ],
        NO_IMAGE,
    ),
}
ANY = re.compile(
    r"series ID \((\w+), 1 file\): (modality \1; expected CT|a single slice; expected a volume|"
    r"a localiser; expected a volume)|" + re.escape(NO_IMAGE)
)
ID = re.compile(r"[0-9a-f]{10}-[0-9a-f]{6}")
PERSONAL = ("PatientName", "PatientID", "ReferringPhysicianName", "InstitutionName")


def words(*paths: Path) -> set[str]:
    """What files tell of people, as far as no pseudonym or hash can hold it by chance."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is wrong with them
        files = [pydicom.dcmread(path, force=True) for path in paths]
        told = [str(file.get(tag, "")) for file in files for tag in PERSONAL]
    found = {word for text in told for word in re.split(r"[\W_]+", text)}
    return {word for word in found if len(word) > 3 and not re.fullmatch("[0-9a-fA-F]+", word)}


def kept(folder: Path) -> str:
    """All text below a folder, and all names."""
    paths = sorted(folder.rglob("*"))
    texts = [path.read_text("utf-8") for path in paths if path.suffix in (".csv", ".json")]
    return "\n".join([*(str(path.relative_to(folder)) for path in paths), *texts])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_one_alone_is_left_out_for_one_reason(
    path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(path, tmp_path / "in")
    with pytest.raises(DataError) as caught:
        import_scans(tmp_path / "in", tmp_path / "out", SETTINGS, layout=LayoutName.DICOM)
    said, _, reason = str(caught.value).partition(" studies can be used; the first: ")
    assert said == f"{tmp_path / 'in'}: none of 1"
    assert ANY.fullmatch(ID.sub("ID", reason))
    assert reason.endswith(REASONS.get(path.name, ""))
    named = find_studies([tmp_path / "in" / path.name], skip=tmp_path / "out")
    assert len(named.studies) + len(named.skipped) == 1
    assert named.pictures == []
    assert capfd.readouterr() == ("", "")
    assert not any(word in reason + kept(tmp_path / "out") for word in words(path))


def test_files_of_every_kind_are_shipped() -> None:
    assert {path.name for path in FILES} >= set(REASONS)


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them in one tree, among tables, texts and an archive."""
    return Path(shutil.copytree(DATA, tmp_path_factory.mktemp("shipped") / "tree"))


def test_a_table_of_contents_is_no_image_that_is_missed(tmp_path: Path) -> None:
    disc = tmp_path / "disc"
    disc.mkdir()
    shutil.copy(DATA / "test_files" / "dicomdirtests" / "DICOMDIR", disc)
    (alone,) = find_studies([disc / "DICOMDIR"], skip=tmp_path / "out").skipped
    assert alone.reason == NO_IMAGE
    write_series(disc / "DICOM", chest((16, 16, 4)).image)
    assert import_scans(disc, tmp_path / "out", SETTINGS).skipped == []


def test_a_tree_of_all_leaves_nothing_unsaid(every: Path, tmp_path: Path) -> None:
    claims = {
        path
        for path in every.rglob("*")
        if path.name != "DICOMDIR"  # a table of contents, which is passed over
        and (path.suffix == ".dcm" or (path.is_file() and path.read_bytes()[128:132] == b"DICM"))
    }
    found = find_studies([every], skip=tmp_path)
    taken = {path for study in found.studies for path in study.files}
    assert taken < claims
    copies = {
        path
        for path in claims - taken
        if any(filecmp.cmp(path, other, shallow=False) for other in taken)
    }
    (left,) = found.skipped
    assert left.reason == NO_IMAGE.replace("1 such", f"{len(claims - taken - copies)} such")
    assert len({study.name for study in found.studies}) == len(found.studies)
    assert found.pictures == []


def test_a_tree_of_all_gives_its_one_volume(every: Path, tmp_path: Path) -> None:
    done = import_scans(every, tmp_path / "out", SETTINGS)
    (row, *_) = done.rows
    assert (done.layout, done.studies, row["slice"]) == (LayoutName.DICOM, 1, "0")
    for each in done.skipped:
        assert "\n" not in each.reason
        assert each.reason.startswith(("series ", "a DICOM file ("))
    told = kept(tmp_path / "out") + "".join(each.reason for each in done.skipped)
    assert row["study"] in told
    assert not {word for word in words(*FILES) if word in told}


def test_the_volume_is_that_of_its_slices(every: Path, tmp_path: Path) -> None:
    """In HU, by the reader that pydicom has."""
    folder = every / "test_files" / "dicomdirtests" / "98892001" / "CT5N"
    (study,) = find_studies([folder], skip=tmp_path).studies
    assert isinstance(study, Series)
    slices = [pydicom.dcmread(path) for path in folder.iterdir()]
    slices.sort(key=lambda each: each.ImagePositionPatient[2])
    expected = [each.pixel_array * each.RescaleSlope + each.RescaleIntercept for each in slices]
    image = read_series(study.paths, study.said)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), np.stack(expected))
    assert image.GetOrigin() == pytest.approx(slices[0].ImagePositionPatient)


def two_slices(path: Path, folder: Path) -> list[Path]:
    """A file as a CT of two slices alike, 5 mm apart, in its own transfer syntax."""
    written = []
    for number in (0, 1):
        slice_ = pydicom.dcmread(path)
        across, down = np.reshape(slice_.ImageOrientationPatient, (2, 3)).astype(float)
        place = np.array(slice_.ImagePositionPatient, float) + 5 * number * np.cross(across, down)
        slice_.ImagePositionPatient = [f"{value:.6f}" for value in place]
        slice_.Modality = "CT"
        written.append(folder / str(number))
        slice_.save_as(written[-1])
    return written


@pytest.mark.parametrize(
    ("name", "same"),
    [
        *[(name, name) for name in ("CT_small.dcm", "693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm")],
        *[
            (f"MR_small{how}.dcm", "MR_small.dcm")
            for how in ("", "_RLE", "_bigendian", "_implicit", "_jp2klossless", "_jpeg_ls_lossless")
        ],
    ],
)
def test_every_transfer_syntax_is_read_alike(name: str, same: str, tmp_path: Path) -> None:
    """Compressed, the other end first, and signed against what the compressed data say."""
    original = pydicom.dcmread(DATA / "test_files" / same)
    slope, intercept = (
        original.get(f"Rescale{what}", i) for i, what in ((1, "Slope"), (0, "Intercept"))
    )
    image = read_series(two_slices(DATA / "test_files" / name, tmp_path), name)
    expected = original.pixel_array * slope + intercept
    for plane in sitk.GetArrayFromImage(image):
        np.testing.assert_allclose(plane, expected, atol=int(name == "693_J2KI.dcm"))  # lossy


def test_several_frames_in_a_file_are_no_series(tmp_path: Path) -> None:
    paths = two_slices(DATA / "test_files" / "rtdose.dcm", tmp_path)
    with pytest.raises(DataError, match=r"^x: several frames in a file; expected a file a slice$"):
        read_series(paths, "x")


@pytest.mark.parametrize("name", ["SC_rgb_rle.dcm", "examples_palette.dcm"])
def test_colour_is_no_hu(name: str, tmp_path: Path) -> None:
    colour = pydicom.dcmread(DATA / "test_files" / name)
    colour.ImageOrientationPatient, colour.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 0]
    colour.save_as(tmp_path / "colour")
    with pytest.raises(DataError, match=r"^x: in colour, as maps and screenshots; expected HU$"):
        read_series(two_slices(tmp_path / "colour", tmp_path), "x")
