"""Pictures in folders: with masks beside them, of classes, or outlined in a JSON file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from data_support import noise, write_png
from PIL import Image

from pseudolabel_kit.data.manifest import Manifest
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.choices import LabelFrom, LayoutName
from pseudolabel_kit.scans.importing import Imported, import_scans
from pseudolabel_kit.scans.study import Settings
from pseudolabel_kit.scans.window import WINDOWS


def run(
    source: Path, bits: int = 8, label_from: LabelFrom | None = None
) -> tuple[Imported, Manifest]:
    settings = Settings(
        spacing=(1, 1, 1), size=32, window=WINDOWS["lung"], bits=bits, lesion=(),
        label_from=label_from,
    )  # fmt: skip
    out = source.parent / "out"
    return import_scans(source, out, settings), Manifest(path=str(out))


def square(height: int, width: int) -> np.ndarray:
    """A lesion in the upper left quarter."""
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2, : width // 2] = 255
    return mask


def test_images_and_masks(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_png(source / "images" / "a.png", noise(32, 16))
    write_png(source / "masks" / "a.png", square(32, 16))
    write_png(source / "images" / "b.png", noise(64, 64))
    write_png(source / "images" / "c.png", noise(32, 32))
    write_png(source / "masks" / "c.png", square(16, 16))
    imported, dataset = run(source)
    assert imported.layout is LayoutName.PICTURES
    assert [each.reason for each in imported.skipped] == [
        "masks/c.png: 16x16 px; expected the 32x32 px of its image"
    ]
    assert [(row.name, row.label, row.patient) for row in dataset.rows()] == [
        ("images/a/0000.png", 0, None),
        ("images/b/0000.png", None, None),
    ]
    sample = dataset.read(0)
    expected = np.zeros((1, 32, 32), bool)
    expected[0, :16, 8:16] = True  # padded evenly, not stretched
    np.testing.assert_array_equal(sample.mask, expected)
    np.testing.assert_allclose(sample.image[0, :, 8:24] * 255, noise(32, 16), atol=1e-3)
    assert not sample.image[0, :, :8].any()


def test_masks_among_the_pictures_of_classes(tmp_path: Path) -> None:
    for name in ("benign/benign (1)", "benign/benign (2)", "normal/normal (1)"):
        write_png(tmp_path / "source" / f"{name}.png", noise(32, 32))
        write_png(tmp_path / "source" / f"{name}_mask.png", square(32, 32))
    imported, dataset = run(tmp_path / "source", label_from=LabelFrom.FOLDER)
    assert (imported.layout, imported.skipped) == (LayoutName.PICTURES, [])
    assert dataset.classes == ("benign", "normal")
    assert [row.has_mask for row in dataset.rows()] == [True, True, True]


def test_every_mask_of_a_picture_counts(tmp_path: Path) -> None:
    """As in BUSI, where some pictures have two or three."""
    squares = np.zeros((3, 32, 32), np.uint8)
    for number, plane in enumerate(squares):
        plane[4:8, 10 * number : 10 * number + 4] = 255
    write_png(tmp_path / "source" / "benign" / "benign (3).png", noise(32, 32))
    for end, plane in zip(("", "_1", "_2"), squares, strict=True):
        write_png(tmp_path / "source" / "benign" / f"benign (3)_mask{end}.png", plane)
    imported, dataset = run(tmp_path / "source")
    assert (imported.studies, imported.skipped) == (1, [])
    np.testing.assert_array_equal(dataset.read(0).mask, squares.max(axis=0)[None] > 0)
    write_png(tmp_path / "source" / "benign" / "benign (3)_mask_2.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(DataError, match=r"benign \(3\)_mask_2.png: 9x9 px; expected the 32x32"):
        run(tmp_path / "source")


def test_a_lesion_thinner_than_a_pixel_is_kept(tmp_path: Path) -> None:
    thin, bold = np.zeros((2, 320, 320), np.uint8)
    thin[101, 40:60] = 255
    bold[100:140, 40:60] = 255
    for name, mask in (("a", thin), ("b", bold)):
        write_png(tmp_path / "source" / "images" / f"{name}.png", noise(320, 320))
        write_png(tmp_path / "source" / "masks" / f"{name}.png", mask)
    imported, dataset = run(tmp_path / "source")
    assert imported.thin == 1
    assert [row["label"] for row in imported.rows] == ["lesion", "lesion"]
    assert np.argwhere(dataset.read(0).mask[0]).tolist() == [[10, 4], [10, 5]]
    assert np.count_nonzero(dataset.read(1).mask) == 8
    assert run(tmp_path / "source")[0].thin == 1


def test_a_class_may_be_called_like_a_mask(tmp_path: Path) -> None:
    for name in ("lesion/1.png", "healthy/1.png"):
        write_png(tmp_path / "source" / name, noise(32, 32))
    imported, dataset = run(tmp_path / "source")
    assert imported.layout is LayoutName.CLASSES
    assert dataset.classes == ("healthy", "lesion")


def test_folders_of_classes(tmp_path: Path) -> None:
    for name in ("train/covid/1.png", "train/healthy/1.png", "test/covid/deep/2.png"):
        write_png(tmp_path / "source" / name, noise(32, 32))
    imported, dataset = run(tmp_path / "source")
    assert imported.layout is LayoutName.CLASSES
    assert dataset.classes == ("covid", "healthy")
    assert [(row.name, row.label) for row in dataset.rows()] == [
        ("images/test-covid-deep-2/0000.png", 0),
        ("images/train-covid-1/0000.png", 0),
        ("images/train-healthy-1/0000.png", 1),
    ]


def test_colour_stays_and_grey_in_colour_does_not(tmp_path: Path) -> None:
    grey = np.repeat(noise(32, 32)[..., None], 3, axis=2)
    write_png(tmp_path / "source" / "x" / "grey.png", grey)
    write_png(tmp_path / "source" / "x" / "red.png", grey * [1, 0, 0])
    run(tmp_path / "source", bits=16)
    images = tmp_path / "out" / "images"
    grey, red = (np.asarray(Image.open(images / f"x-{x}" / "0000.png")) for x in ("grey", "red"))
    assert (grey.dtype, grey.shape) == (np.uint16, (32, 32))
    assert (red.dtype, red.shape) == (np.uint8, (32, 32, 3))


def test_broken_and_tiny_pictures_are_named(tmp_path: Path) -> None:
    write_png(tmp_path / "source" / "x" / "good.png", noise(32, 32))
    write_png(tmp_path / "source" / "x" / "tiny.png", noise(8, 8))
    (tmp_path / "source" / "x" / "bad.jpg").write_bytes(b"no picture")
    imported, _ = run(tmp_path / "source")
    assert [each.reason for each in imported.skipped] == [
        "x/bad.jpg is no image that can be read; expected PNG, JPEG, TIFF or NPY",
        "x/tiny.png: 8x8 px: expected at least 16 px a side",
    ]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Pictures a and b, of which a shows two lesions."""
    source = tmp_path / "source"
    for name in ("a", "b"):
        write_png(source / "train" / f"{name}.png", noise(32, 32))
    content = {
        "images": [
            {"id": 1, "file_name": "a.png"},
            {"id": 2, "file_name": "train/b.png"},
            {"id": 3, "file_name": "../../etc/passwd"},
        ],
        "annotations": [
            {"image_id": 1, "segmentation": [[0, 0, 8, 0, 8, 4, 0, 4]]},
            {"image_id": 1, "segmentation": {"counts": [1023, 1], "size": [32, 32]}},
        ],
    }
    (source / "instances.json").write_text(json.dumps(content))
    (source / "other.json").write_text("[1, 2]")
    (source / "odd.json").write_text('{"images": [{"id": []}], "annotations": []}')
    return source


def test_outlines_of_coco(coco: Path) -> None:
    imported, dataset = run(coco)
    assert imported.layout is LayoutName.COCO
    assert [each.reason for each in imported.skipped] == [
        "instances.json: no file of the name ../../etc/passwd; expected one"
    ]
    first, second = dataset.read(0), dataset.read(1)
    expected = np.zeros((1, 32, 32), bool)
    expected[0, :4, :8] = expected[0, 31, 31] = True
    np.testing.assert_array_equal(first.mask, expected)
    assert second.mask is not None
    assert not second.mask.any()
    assert [dataset.classes[row.label or 0] for row in dataset.rows()] == ["lesion", "no_lesion"]


def test_an_outline_that_is_damaged(coco: Path) -> None:
    file = coco / "instances.json"
    file.write_text(file.read_text().replace("1023", "1000"))
    imported, _ = run(coco)
    reason = imported.skipped[1].reason
    assert reason == "instances.json: train-a: run lengths that do not add up to the image"
