from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from data_support import noise, write_manifest, write_png

from pseudolabel_kit.data.manifest import Manifest
from pseudolabel_kit.errors import DataError

LINE = {"image": "a.png"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images, a mask and a region; a file beside the folder."""
    folder = tmp_path / "set"
    for i, name in enumerate(("a.png", "b.png")):
        write_png(folder / name, noise(seed=i))
    write_png(folder / "mask.png", (noise() > 200) * 255)
    write_png(folder / "small.png", (noise(4, 5) > 200) * 255)
    write_png(folder / "odd.png", noise(top=9))
    write_png(tmp_path / "outside.png", noise())
    return folder


def test_everything_that_a_row_may_have(folder: Path) -> None:
    full = {
        "image": "a.png",
        "mask": "mask.png",
        "region": "mask.png",
        "label": "ill",
        "patient": "P1",
        "split": "val",
        "remark": "ignored",
    }
    write_manifest(folder, [full, {"image": "b.png", "label": "ill"}])
    manifest = Manifest(path=str(folder))
    first, second = manifest.rows()
    assert (first.name, first.label, first.patient, first.split) == ("a.png", 0, "P1", "val")
    assert first.has_mask
    assert first.has_region
    assert (second.patient, second.split, second.has_mask, second.has_region) == (
        None,
        None,
        False,
        False,
    )
    sample = manifest.read(0)
    assert (np.rint(sample.image[0] * 255) == noise()).all()
    assert sample.mask is not None
    assert (sample.mask[0] == (noise() > 200)).all()
    assert manifest.read(1).mask is None
    assert manifest.lesion_classes == ()


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "c"], ("a", "b", "c")),
        (["10", "9", "2"], ("2", "9", "10")),
        (["10", "9", "x"], ("10", "9", "x")),
        (["1.0", "1", "01"], ("01", "1", "1.0")),  # equal numbers, by their text
        (["", "", ""], ("any",)),
    ],
)
def test_the_order_of_classes(
    folder: Path, labels: Sequence[str], classes: tuple[str, ...]
) -> None:
    names = ("a.png", "b.png", "mask.png")
    lines = [{"image": n, "label": label} for n, label in zip(names, labels, strict=True)]
    write_manifest(folder, lines)
    manifest = Manifest(path=str(folder))
    assert manifest.classes == classes
    known = [None if row.label is None else classes[row.label] for row in manifest.rows()]
    assert known == [label or None for label in labels]


def test_the_order_of_classes_does_not_depend_on_how_strings_are_hashed(folder: Path) -> None:
    names = ("a.png", "b.png", "mask.png")
    labels = ("1", "1.0", "1.00")
    write_manifest(folder, [{"image": n, "label": x} for n, x in zip(names, labels, strict=True)])
    script = (
        "import sys\n"
        "from pseudolabel_kit.data.manifest import Manifest\n"
        "print(*Manifest(path=sys.argv[1]).classes)\n"
    )
    command = [sys.executable, "-c", script, str(folder)]
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert told.stdout.split() == ["1", "1.0", "1.00"]


def test_spreadsheets_marks_spaces_and_umlauts(folder: Path) -> None:
    write_png(folder / "Röntgen bilder" / "ä 1.png", noise())
    text = '\ufeffimage, label \r\n"Röntgen bilder/ä 1.png", krank\r\n\r\na.png,"x, y"\r\n,\r\n'
    (folder / "manifest.csv").write_bytes(text.encode())
    manifest = Manifest(path=str(folder / "manifest.csv"))
    assert [row.name for row in manifest.rows()] == ["Röntgen bilder/ä 1.png", "a.png"]
    assert manifest.classes == ("krank", "x, y")
    assert manifest.read(0).image.shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([LINE, {"image": "no.png"}], r"row 3: image no\.png does not exist"),
        ([{**LINE, "mask": "no.png"}], r"row 2: mask no\.png does not exist"),
        ([{"image": "."}], r"row 2: image \. is no file"),
        ([{"image": "../outside.png"}], r"row 2: image \.\./outside\.png lies outside"),
        ([{**LINE, "region": "/etc/hostname"}], "row 2: region /etc/hostname is an absolute path"),
        ([{"image": "link.png"}], r"row 2: image link\.png lies outside"),
        ([LINE, {"image": "./a.png"}], r"row 3: image \./a\.png is listed before, in .* row 2"),
        ([LINE, {"image": "", "label": "x"}], "row 3 names no image"),
        ([{**LINE, "split": "labeled"}], r"row 2: .*'labeled' \(did you mean 'labelled'\?\)"),
        (
            [{**LINE, "split": "train"}],
            "row 2: .*'train'; expected labelled, unlabelled, val, test",
        ),
        (
            [{**LINE, "label": "ill"}, {"image": "b.png", "label": "il", "split": "test"}],
            r"row 3: unknown label 'il' \(did you mean 'ill'\?\); training rows have ill",
        ),
        ([], r"manifest\.csv has no column 'image' \(its header: nothing\)"),
        ([{"picture": "a.png"}], r"manifest\.csv has no column 'image' \(its header: picture\)"),
    ],
)
def test_what_is_wrong_in_the_table(
    folder: Path, lines: Sequence[Mapping[str, str]], said: str
) -> None:
    os.symlink(folder.parent / "outside.png", folder / "link.png")
    write_manifest(folder, lines)
    with pytest.raises(DataError, match=said) as caught:
        Manifest(path=str(folder)).rows()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"image\n", r"manifest\.csv lists no images"),
        (b"image;label\na.png;x\n", r"no column 'image' \(its header: image;label\)"),
        (b"image,label\na.png,x,y\n", "row 2 has 3 cells, the header 2"),
        (b"image,label,label\na.png,x,y\n", "has the column 'label' twice"),
        (b"image\n\xff\xfe.png\n", "is not UTF-8"),
        (b'image\n"a.png\n', "row 2: unexpected end of data"),
        (b"image\na\x00.png\n", "row 2 holds a null character"),
    ],
)
def test_what_is_no_table(folder: Path, text: bytes, said: str) -> None:
    (folder / "manifest.csv").write_bytes(text)
    with pytest.raises(DataError, match=said):
        Manifest(path=str(folder)).rows()


def test_a_column_that_is_nearly_right_is_mentioned(folder: Path) -> None:
    write_manifest(folder, [{"image": "a.png", "patient_id": "1", "comment": ""}])
    with pytest.warns(UserWarning, match="'patient_id' is ignored .did you mean 'patient'"):
        Manifest(path=str(folder)).rows()


@pytest.mark.parametrize("path", ["nowhere", "nowhere/manifest.csv", "."])
def test_a_manifest_that_is_not_there(folder: Path, path: str) -> None:
    with pytest.raises(DataError, match="does not exist; expected a manifest"):
        Manifest(path=str(folder / path)).rows()


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            {"mask": "small.png"},
            r"row 2: mask small\.png is 5x4 px; expected the 8x8 px of its image a\.png",
        ),
        ({"region": "small.png"}, r"row 2: region small\.png is 5x4 px"),
        ({"mask": "odd.png"}, r"row 2: mask odd\.png holds the values 0, 1, 2, 3, 4, …"),
    ],
)
def test_what_is_wrong_in_a_file(folder: Path, cells: Mapping[str, str], said: str) -> None:
    write_manifest(folder, [{**LINE, **cells}])
    with pytest.raises(DataError, match=said):
        Manifest(path=str(folder)).read(0)


def test_a_truncated_image_names_its_row(folder: Path) -> None:
    file = folder / "a.png"
    file.write_bytes(file.read_bytes()[:60])
    write_manifest(folder, [{"image": "b.png"}, LINE])
    with pytest.raises(DataError, match=r"^manifest\.csv row 3: image a\.png is truncated"):
        Manifest(path=str(folder)).read(1)


def test_the_fingerprint_changes_with_files_and_table(folder: Path) -> None:
    def fingerprint() -> str:
        return Manifest(path=str(folder)).fingerprint()

    write_manifest(folder, [{**LINE, "mask": "mask.png"}])
    before = fingerprint()
    assert fingerprint() == before
    os.utime(folder / "mask.png", ns=(1, 1))
    touched = fingerprint()
    write_manifest(folder, [{**LINE, "mask": "mask.png", "label": "x"}])
    assert len({before, touched, fingerprint()}) == 3
