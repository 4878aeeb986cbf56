"""DICOM series: in order whatever their names, and refused where they are no volume."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scans_support import chest, placed, write_series

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.choices import LabelFrom
from pseudolabel_kit.scans.geometry import Grid
from pseudolabel_kit.scans.importing import Imported, import_scans
from pseudolabel_kit.scans.layouts import dicom
from pseudolabel_kit.scans.scan import Series
from pseudolabel_kit.scans.series import read_series
from pseudolabel_kit.scans.study import Settings
from pseudolabel_kit.scans.tree import look_into
from pseudolabel_kit.scans.window import WINDOWS

IMAGE = chest().image
SMALL = chest((8, 8, 4)).image
TELLING = ["1961-02-03", "03.02.1961", "Mueller", "123-4567"]
LOCALISER = {"0008|0008": "ORIGINAL\\PRIMARY\\LOCALIZER"}
MUELLER = {"0010|0010": "Müller^Anna", "0010|0020": "1234567", "0008|0005": "ISO_IR 192"}


def found(tree: Path) -> tuple[list[Series], list[str]]:
    studies, skipped = dicom.find(look_into(tree, tree.parent / ".salt"))
    return [each for each in studies if isinstance(each, Series)], [each.reason for each in skipped]


def imported(tree: Path, label_from: LabelFrom) -> Imported:
    settings = Settings(
        spacing=(8, 8, 10), size=16, window=WINDOWS["lung"], bits=8, lesion=(),
        label_from=label_from,
    )  # fmt: skip
    return import_scans(tree, tree.parent / "out", settings)


def nothing_of(names: list[str], folder: Path) -> bool:
    texts = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    texts += [path.read_text() for path in folder.rglob("*") if path.suffix in (".csv", ".json")]
    return not any(name in text for name in names for text in texts)


def test_slices_in_any_order_are_the_volume_in_hu(tmp_path: Path) -> None:
    paths = write_series(tmp_path, IMAGE)
    assert [path.name for path in sorted(paths)] != [path.name for path in paths]
    for order in (paths, paths[::-1], sorted(paths)):
        image = read_series(order, "")
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(IMAGE))
        assert Grid.of(image).farthest(Grid.of(IMAGE)) < 1e-4


@pytest.mark.parametrize("orientation", ["LPS", "SAL", "RAS"])
def test_oblique_series_keep_their_place(orientation: str, tmp_path: Path) -> None:
    turned = sitk.Euler3DTransform((0, 0, 0), 0.1, -0.2, 0.3).GetMatrix()
    image = placed(sitk.GetArrayFromImage(IMAGE), (0.8, 0.8, 3))
    image.SetDirection(turned)
    image = sitk.DICOMOrient(image, orientation)
    read = read_series(write_series(tmp_path, image), "")
    assert Grid.of(read).farthest(Grid.of(image)) < 1e-3
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(image))


def test_every_slice_has_a_slope_of_its_own(tmp_path: Path) -> None:
    even = sitk.Cast(IMAGE / 2, sitk.sitkInt16) * 2
    paths = write_series(tmp_path, even, slices=range(4))
    double = {"0028|1053": "2", "0028|1052": "-2000"}
    paths += write_series(tmp_path, even, slices=range(4, 8), tags=double)
    read, true = (sitk.GetArrayFromImage(each) for each in (read_series(paths, ""), even))
    np.testing.assert_array_equal(read, true)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([{"slices": [0, 1, 2, 5, 6, 7]}], "missing slices: 30.0 mm from the one at 120.0 mm"),
        ([{"shear": 2}], "gantry tilt: slices are shifted by 11.3°"),
        ([{"tags": {"0008|0060": "MR"}}], "modality MR; expected CT"),
        ([{"slices": [0]}], "a single slice; expected a volume"),
        ([{"slices": [0, 1], "tags": LOCALISER}], "a localiser; expected a volume"),
        ([{"slices": [0], "tags": {**LOCALISER, "0008|0060": "MR"}}], "a localiser;"),
        ([{}, {"first": 90}], "several slices at 100.0 mm; expected one"),
        ([{}, {"first": 90, "image": chest((16, 20, 8)).image}], "slices of 2"),
        ([{}, {"first": 90, "image": chest(spacing=(7, 7, 10)).image}], "of different sizes"),
        ([{}, {"first": 90, "image": sitk.DICOMOrient(chest((8, 8, 8), (8, 8, 8)).image, "SAL")}],
         "mixed series"),
        ([{"slices": [0, 1, 2]}, {"slices": [3], "first": 90, "shear": 4}], "gantry tilt"),
    ],
)  # fmt: skip
def test_what_is_no_volume_is_refused(
    parts: list[dict[str, Any]], said: str, tmp_path: Path
) -> None:
    paths = []
    for part in parts:
        paths += write_series(tmp_path, part.pop("image", IMAGE), **part)
    with pytest.raises(DataError) as caught:
        read_series(paths, "series x in CT1")
    message = str(caught.value)
    assert message.startswith("series x in CT1: ")
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize("tag", ["0020|0032", "0020|0037"])
def test_slices_that_do_not_say_where_they_lie(tag: str, tmp_path: Path) -> None:
    paths = write_series(tmp_path, IMAGE)
    element = struct.pack("<2H", *(int(number, 16) for number in tag.split("|")))
    content = paths[2].read_bytes()
    paths[2].write_bytes(content.replace(element, b"\x20\x00\x36\x00", 1))  # means nothing
    with pytest.raises(DataError, match=r"^x: slices without position or orientation; expected"):
        read_series(paths, "x")


def test_slices_at_uneven_distances(tmp_path: Path) -> None:
    paths = write_series(tmp_path, IMAGE, slices=range(4))
    moved = sitk.Image(IMAGE)
    moved.SetOrigin((*IMAGE.GetOrigin()[:2], IMAGE.GetOrigin()[2] + 2))
    paths += write_series(tmp_path, moved, slices=range(4, 8))
    with pytest.raises(DataError, match=r"slices lie 10\.00 to 12\.00 mm apart"):
        read_series(paths, "x")


def test_slices_that_are_turned(tmp_path: Path) -> None:
    paths = write_series(tmp_path, IMAGE, slices=range(4))
    turned = sitk.Image(IMAGE)
    turned.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.02, 0, 0).GetMatrix())
    paths += write_series(tmp_path, turned, slices=range(4, 8))
    with pytest.raises(DataError, match="turned against each other"):
        read_series(paths, "x")


def without_preamble(content: bytes) -> bytes:
    return content[132:]


def bare(content: bytes) -> bytes:
    """The data set alone, in implicit little endian, as old archives have it."""
    (meta,) = struct.unpack_from("<I", content, 140)
    return content[144 + meta :]


@pytest.mark.parametrize("strip", [bytes, without_preamble, bare])
@pytest.mark.parametrize("name", ["{}.dcm", "{}.IMA", "{}.img", "IM{}", "1.2.826.{}"])
def test_files_are_found_by_many_names_and_without_a_preamble(
    strip: Callable[[bytes], bytes], name: str, tmp_path: Path
) -> None:
    for i, path in enumerate(write_series(tmp_path / "tree", SMALL)):
        path.write_bytes(strip(path.read_bytes()))
        path.rename(path.with_name(name.format(i)))
    assert dicom.recognise(look_into(tmp_path / "tree", tmp_path / ".salt"))
    [study], skipped = found(tmp_path / "tree")
    assert skipped == []
    read = sitk.GetArrayFromImage(read_series(study.paths, study.said))
    np.testing.assert_array_equal(read, sitk.GetArrayFromImage(SMALL))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08\0\x05",
        bytes(500),
        b"MIT License\n" * 50,
        b"\x08\0\x16\0\xff\xff\xff\xff",
        b"\x08\0\0\0\x06\0\0\0" + bytes(500),
    ],
)
def test_other_files_without_a_suffix_are_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_bytes(content)
    assert not dicom.is_dicom(tmp_path / "LICENSE")


@pytest.mark.parametrize("header", [".hdr", ".HDR"])
def test_the_voxels_of_analyze_are_no_dicom(header: str, tmp_path: Path) -> None:
    """Whatever they begin with, as long as the header of the pair lies beside them."""
    voxels = tmp_path / "tree" / "brain.img"
    write_series(voxels.parent, SMALL)
    voxels.write_bytes(struct.pack("<4H", 0x0008, 0x0005, 10, 0) + bytes(500))
    assert dicom.is_dicom(voxels)
    voxels.with_suffix(header).write_bytes(bytes(348))
    assert not dicom.is_dicom(voxels)
    [_], skipped = found(voxels.parent)
    assert skipped == []


@pytest.mark.parametrize("name", ["empty.dcm", "zeros.DCM", "text.ima"])
def test_what_is_called_dicom_and_is_none_is_counted(name: str, tmp_path: Path) -> None:
    contents = {"empty.dcm": b"", "zeros.DCM": bytes(500), "text.ima": b"see the other disc"}
    write_series(tmp_path / "tree", SMALL)
    (tmp_path / "tree" / name).write_bytes(contents[name])
    [study], skipped = found(tmp_path / "tree")
    assert len(study.paths) == 4
    assert skipped == [
        "a DICOM file (1 such): is damaged or no image, as a report; expected CT slices"
    ]


def test_a_damaged_slice(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    paths = write_series(tmp_path, IMAGE)
    paths[3].write_bytes(paths[3].read_bytes()[:-300])
    with pytest.raises(DataError, match="x: cannot be read; it is truncated, damaged or empty"):
        read_series(paths, "x")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", TELLING)
def test_what_is_said_of_a_series_names_no_folder_or_file(name: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for path in write_series(tree / name / name, SMALL, tags={**MUELLER, "0008|0060": "MR"}):
        path.rename(path.with_name(f"{name} {path.name}"))
    (tree / name / "report.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 50)
    for link in ("a", "b"):
        (tree / name / link).symlink_to(tmp_path)
    [study], skipped = found(tree)
    assert study.said == f"series {study.name} (MR, 4 files)"
    assert skipped == [
        "a path that is not shown (2 such): is a link to a folder; expected the folder",
        "a DICOM file (1 such): is damaged or no image, as a report; expected CT slices",
    ]
    with pytest.raises(DataError) as caught:
        read_series(study.paths, study.said)
    assert str(caught.value) == f"{study.said}: modality MR; expected CT"
    assert study.folder == ""


@pytest.mark.parametrize("name", TELLING)
def test_a_folder_of_one_patient_is_no_class(name: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    mueller = write_series(tree / name, chest((16, 16, 4)).image, uid="1.1", tags=MUELLER)
    for uid, patient in (("1.2", "1"), ("1.3", "2")):
        write_series(tree / "covid" / uid, chest((16, 16, 4)).image, uid=uid, patient=patient)
    done = imported(tree, LabelFrom.FOLDER)
    assert {row["label"] for row in done.rows} == {"covid"}
    assert done.studies == 2
    [skipped] = done.skipped
    [lone] = [study for study in found(tree)[0] if mueller[0] in study.paths]
    assert skipped.reason.endswith(
        "(CT, 4 files): the folder of its class holds one patient alone, and its name may tell "
        "who that is; import with --label-from none, and fill in the column label by hand"
    )
    assert lone.folder == ""
    assert nothing_of([name], tmp_path / "out")
    assert imported(tree, LabelFrom.NONE).studies == 3
    assert nothing_of([name], tmp_path / "out")


@pytest.mark.parametrize("name", ["Müller", "Βασίλης", "山田"])
@pytest.mark.parametrize("tag", ["0010|0020", "0008|0060"])
def test_tags_in_any_character_set(tag: str, name: str, tmp_path: Path) -> None:
    """The bytes of a patient's name, where its number is expected, or the modality."""
    charset = {"Müller": "latin-1", "Βασίλης": "iso8859-7", "山田": "shift-jis"}[name]
    written = name.encode(charset).ljust(16)
    for path in write_series(tmp_path / "tree", SMALL, tags={tag: "PLACE_OF_A_NAME_"}):
        path.write_bytes(path.read_bytes().replace(b"PLACE_OF_A_NAME_", written))
    [study], skipped = found(tmp_path / "tree")
    assert skipped == []
    assert (
        study.said == f"series {study.name} ({'CT' if tag == '0010|0020' else 'unknown'}, 4 files)"
    )
    assert not any(word in repr(study) for word in (name, repr(written)[2:-1]))


@pytest.mark.parametrize("ids", [("123-4567", "1234567"), ("ab 1", "AB1"), ("", "")])
def test_one_patient_in_two_ways_makes_no_class(ids: tuple[str, str], tmp_path: Path) -> None:
    for number, patient in enumerate(ids):
        tags = {"0020|000d": f"1.5.{number}"}
        folder = tmp_path / "tree" / "Mueller" / str(number)
        write_series(folder, SMALL, uid=f"1.{number}", patient=patient, tags=tags)
    studies, _ = found(tmp_path / "tree")
    assert [study.folder for study in studies] == ["", ""]


def test_a_class_of_two_patients_that_one_has_left_is_not_kept(tmp_path: Path) -> None:
    image = chest((16, 16, 4)).image
    tree = tmp_path / "tree"
    write_series(tree / "covid" / "x", image, uid="1.1", patient="1")
    leaving = write_series(tree / "covid" / "y", image, uid="1.2", patient="2")
    assert imported(tree, LabelFrom.FOLDER).studies == 2
    (tree / "else").mkdir()
    for path in leaving:
        path.rename(tree / "else" / path.name)
    with pytest.raises(DataError, match=r"none of 2 studies .* holds one patient alone"):
        imported(tree, LabelFrom.FOLDER)


def test_two_patients_under_one_series_are_two_studies(tmp_path: Path) -> None:
    for number, patient in enumerate(("1", "2")):
        write_series(tmp_path / "tree", SMALL, patient=patient, first=number * 50)
    studies, _ = found(tmp_path / "tree")
    assert [len(study.paths) for study in studies] == [4, 4]
    assert len({study.patient for study in studies}) == 2
    assert len({study.name for study in studies}) == 2
