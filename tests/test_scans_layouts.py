"""Studies are found in the folders that archives have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from scans_support import chest, write, write_covid, write_series

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.choices import LayoutName
from pseudolabel_kit.scans.layouts.known import LAYOUTS, left_out, recognised
from pseudolabel_kit.scans.layouts.roles import role_of
from pseudolabel_kit.scans.scan import Scan, Series
from pseudolabel_kit.scans.study import Settings, Study
from pseudolabel_kit.scans.tree import Source, look_into
from pseudolabel_kit.scans.window import Window

CHEST = chest((8, 8, 4))


def source_of(folder: Path) -> Source:
    return look_into(folder, folder.parent / ".salt")


def found(folder: Path, layout: LayoutName) -> tuple[list[Study], list[str]]:
    source = source_of(folder)
    assert recognised(source) is layout
    studies, skipped = LAYOUTS[layout].find(source)
    return list(studies), [each.reason for each in skipped]


def parts(study: Study) -> tuple[str, list[str]]:
    assert isinstance(study, Scan)
    files = (study.image, *(study.masks or (None,)), study.region)
    return study.name, ["" if f is None else f.relative_to(study.source).as_posix() for f in files]


def make(folder: Path, *names: str) -> Path:
    for name in names:
        write(CHEST.infection, folder / name)
    return folder


def test_covid_19_ct_seg(tmp_path: Path) -> None:
    write_covid(tmp_path, "coronacases_001", "radiopaedia_4_85506_1", size=(8, 8, 4))
    studies, skipped = found(tmp_path, LayoutName.VOLUMES)
    assert skipped == []
    assert [study.patient for study in studies] == ["coronacases_001", "radiopaedia_4_85506_1"]
    folders = ("COVID-19-CT-Seg_20cases", "Infection_Mask", "Lung_Mask")
    assert parts(studies[0])[1] == [f"{folder}/coronacases_001.nii.gz" for folder in folders]


@pytest.mark.parametrize(
    "names",
    [
        ("c1_ct.nii.gz", "c1_infection_mask.nii.gz", "c1_lung.nii.gz"),
        ("c1/ct.nrrd", "c1/lesion.nrrd", "c1/lungs.mha"),
        ("images/c1.mha", "labels/c1.nii", "lung_masks/c1.nrrd"),
        ("c1.nii.gz", "c1-seg.nii.gz", "c1_lung_seg.nii.gz"),
        ("scans/c1/ct.nii", "scans/c1/infection_seg.nii", "scans/c1/lung_mask.nii"),
        ("images/C1_ct.nii", "images/C1_mask.nii", "Lung_Mask/C1.nii"),
        ("images/lung_C1.nii", "labels/lung_C1.nii", "Lung_Mask/lung_C1.nii"),
        ("ct_lung/c1.nii", "tumour/c1.nii", "Lungs/c1.nii"),
    ],
)
def test_masks_lie_beside_images_in_many_ways(names: tuple[str, ...], tmp_path: Path) -> None:
    studies, skipped = found(make(tmp_path, *names), LayoutName.VOLUMES)
    assert skipped == []
    assert [(study.name.lower(), parts(study)[1]) for study in studies] == [("c1", list(names))]


@pytest.mark.parametrize(
    ("name", "role"),
    [("lung_ct_scans", "image"), ("LungInfection", None), ("lung_and_infection_mask", "both"),
     ("Lung segmentation", "region"), ("patient7", None), ("roi_labels", "mask")],
)  # fmt: skip
def test_roles(name: str, role: str | None) -> None:
    assert role_of(name) == role


def test_folders_of_patients_are_part_of_the_name(tmp_path: Path) -> None:
    make(tmp_path, "p 1/CT/a.nii", "p 1/mask/a.nii", "p2/CT/a.nii")
    studies, _ = found(tmp_path, LayoutName.VOLUMES)
    assert [parts(study) for study in studies] == [
        ("p-1-a", ["p 1/CT/a.nii", "p 1/mask/a.nii", ""]),
        ("p2-a", ["p2/CT/a.nii", "", ""]),
    ]


def test_several_masks_are_parts_of_one(tmp_path: Path) -> None:
    make(tmp_path, "images/a.nii", "masks/a.nii", "masks/a_2.nii", "images/b 1.nii")
    make(tmp_path, "masks/b 1_1.nii", "images/c_1.nii", "masks/c_1.nii", "masks/d_1.nii")
    studies, skipped = found(tmp_path, LayoutName.VOLUMES)
    assert [parts(study) for study in studies] == [
        ("a", ["images/a.nii", "masks/a.nii", "masks/a_2.nii", ""]),
        ("b-1", ["images/b 1.nii", "masks/b 1_1.nii", ""]),
        ("c_1", ["images/c_1.nii", "masks/c_1.nii", ""]),
    ]
    assert skipped == ["masks/d_1.nii: is a mask by its name, and no image shares its name"]


def test_what_has_no_place_is_named(tmp_path: Path) -> None:
    make(tmp_path, "images/a.nii", "images/a.nrrd", "masks/b.nii", "images/c.nii")
    studies, skipped = found(tmp_path, LayoutName.VOLUMES)
    assert [study.name for study in studies] == ["c"]
    assert skipped == [
        "images/a.nii: is not the only image of its study: images/a.nrrd",
        "masks/b.nii: is a mask by its name, and no image shares its name",
    ]


def test_the_decathlon(tmp_path: Path) -> None:
    make(tmp_path, "imagesTr/lung_001.nii.gz", "labelsTr/lung_001.nii.gz")
    make(tmp_path, "imagesTr/._lung_001.nii.gz", "imagesTs/lung_002.nii.gz", "labelsTr/x.nii.gz")
    (tmp_path / "dataset.json").write_text("{}")
    studies, skipped = found(tmp_path, LayoutName.DECATHLON)
    assert [parts(study) for study in studies] == [
        ("lung_001", ["imagesTr/lung_001.nii.gz", "labelsTr/lung_001.nii.gz", ""]),
        ("lung_002", ["imagesTs/lung_002.nii.gz", "", ""]),
    ]
    assert skipped == ["labelsTr/x.nii.gz: is the mask of no image in imagesTr"]


def test_the_decathlon_s_folders_tell_without_their_table(tmp_path: Path) -> None:
    make(tmp_path, "imagesTr/a_0000.nii", "labelsTr/a.nii", "imagesTs/b_0000.nii", "labelsTs/b.nii")
    make(tmp_path, "labelsTs/c.nii")
    studies, skipped = found(tmp_path, LayoutName.DECATHLON)
    assert [parts(study) for study in studies] == [
        ("a", ["imagesTr/a_0000.nii", "labelsTr/a.nii", ""]),
        ("b", ["imagesTs/b_0000.nii", "labelsTs/b.nii", ""]),
    ]
    assert skipped == ["labelsTs/c.nii: is the mask of no image in imagesTs"]


@pytest.mark.parametrize(
    ("described", "modality"),
    [
        ({"modality": {"0": "MRI"}}, "MRI"),
        ({"channel_names": {"0": "T2", "1": "ADC"}}, "T2"),
        ({"modality": {"0": "CT"}, "name": "Lung"}, "CT"),
        ({}, "CT"),
    ],
)
def test_the_decathlon_tells_the_modality(
    described: dict[str, object], modality: str, tmp_path: Path
) -> None:
    make(tmp_path, "imagesTr/a.nii")
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    (study,), _ = found(tmp_path, LayoutName.DECATHLON)
    assert isinstance(study, Scan)
    assert study.modality == modality
    (tmp_path / "dataset.json").write_text("[1]")
    with pytest.raises(DataError, match=r"dataset\.json: is no JSON table of a dataset; mend it"):
        found(tmp_path, LayoutName.DECATHLON)


def test_nnunet_numbers_its_channels(tmp_path: Path) -> None:
    make(tmp_path, "imagesTr/a_0000.nrrd", "imagesTr/b_0000.nrrd", "imagesTr/b_0001.nrrd")
    make(tmp_path, "labelsTr/a.nrrd", "labelsTr/b.nrrd")
    (tmp_path / "dataset.json").write_text("{}")
    studies, skipped = found(tmp_path, LayoutName.DECATHLON)
    assert [parts(study)[0] for study in studies] == ["a", "b"]
    assert parts(studies[1])[1][1] == "labelsTr/b.nrrd"
    assert skipped == ["imagesTr/b_0001.nrrd: is another channel; expected _0000 alone"]


def test_a_tree_of_dicom_series(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    write_series(tree / "DOE_JANE" / "CT1", CHEST.image, uid="1.1")
    write_series(tree / "DOE_JANE" / "CT1", CHEST.image, uid="1.2", first=50)
    write_series(tree / "other" / "MRN4712", CHEST.image, uid="1.3", patient="MRN4712")
    (tree / "DOE_JANE" / "report.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 50)
    (tree / "Roe_Max").mkdir()
    (tree / "Roe_Max" / "report.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 50)
    (tree / "DOE_JANE" / "CT1" / "Doe").symlink_to(tmp_path)
    (tree / "README").write_text("no DICOM")
    studies, skipped = found(tree, LayoutName.DICOM)
    assert skipped == [
        "a path that is not shown (1 such): is a link to a folder; expected the folder",
        "a DICOM file (2 such): is damaged or no image, as a report; expected CT slices",
    ]
    assert [len(study.files) for study in studies] == [4, 4, 4]
    assert len({study.name for study in studies}) == 3
    by_patient = sorted(study.patient for study in studies)
    assert len(set(by_patient)) == 2
    said = [study.said for study in studies if isinstance(study, Series)]
    assert said == [f"series {study.name} (CT, 4 files)" for study in studies]
    assert {study.folder for study in studies} == {""}  # each folder is of one patient
    told = repr([(study.name, study.patient, study.folder) for study in studies]) + "".join(said)
    assert not any(word in told.lower() for word in ("doe", "jane", "mrn", "19610203"))
    again, _ = found(tree, LayoutName.DICOM)
    assert [study.name for study in again] == [study.name for study in studies]


def test_what_is_called_dicom_and_is_none_is_told_where_nothing_else_is(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"junk" * 99)
    (tmp_path / "README").write_text("no DICOM")
    told = "a DICOM file (1 such): is damaged or no image, as a report; expected CT slices"
    assert found(tmp_path, LayoutName.DICOM) == ([], [told])
    make(tmp_path, "x.nii")
    assert found(tmp_path, LayoutName.VOLUMES)[1] == []
    (left,) = left_out(source_of(tmp_path), LayoutName.VOLUMES)
    told = "1 files of dicom are left out; take them with --layout dicom and another --out"
    assert left.reason == told


def test_pseudonyms_depend_on_the_salt(tmp_path: Path) -> None:
    write_series(tmp_path / "tree", CHEST.image)
    names = []
    for salt in (b"a" * 32, b"b" * 32):
        (tmp_path / ".salt").write_bytes(salt)
        names.append(found(tmp_path / "tree", LayoutName.DICOM)[0][0].name)
    assert names[0] != names[1]


@pytest.mark.parametrize(
    ("lesion", "pixels"), [((), 80), ((1,), 64), ((2,), 16), ((1, 2), 80), ((3,), 0)]
)
def test_coco_s_categories_are_values(lesion: tuple[int, ...], pixels: int, tmp_path: Path) -> None:
    Image.new("L", (32, 32), 90).save(tmp_path / "a.png")
    squares = [(1, [0, 0, 8, 0, 8, 8, 0, 8]), (2, [20, 20, 24, 20, 24, 24, 20, 24])]
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [
            {"image_id": 1, "category_id": category, "segmentation": [square]}
            for category, square in squares
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    (study,), _ = found(tmp_path, LayoutName.COCO)
    slices = study.slices(
        Settings(
            spacing=(1, 1, 1), size=32, window=Window(level=0, width=400), bits=8, lesion=lesion
        )
    )
    assert slices.masks is not None
    assert slices.masks.sum() == pixels


def test_nothing_that_is_known(tmp_path: Path) -> None:
    (tmp_path / "x.txt").touch()
    with pytest.raises(DataError, match="holds nothing that is recognised; expected one of decat"):
        recognised(source_of(tmp_path))
