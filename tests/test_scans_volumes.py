"""What is no whole volume in 3-D is refused in one line, by its name."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scans_support import placed, write

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.scan import Scan
from pseudolabel_kit.scans.study import Settings
from pseudolabel_kit.scans.volumes import SUFFIXES, oriented, read_volume, stem
from pseudolabel_kit.scans.window import Window

VOXELS = np.random.default_rng(0).integers(-1000, 400, (6, 16, 20)).astype(np.int16)


@pytest.fixture(params=SUFFIXES)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"case.v1{request.param}"
    write(placed(VOXELS, (0.7, 0.8, 2.5)), path)
    return path


def refused(path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(DataError) as caught:
        read_volume(path, "a/case")
    message = str(caught.value)
    assert message.startswith("a/case: ")
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")  # what C code prints is nobody's line
    return message


def test_every_format_is_read(file: Path) -> None:
    image = read_volume(file, "")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VOXELS)
    assert image.GetSpacing() == pytest.approx((0.7, 0.8, 2.5))
    assert stem(file) == "case.v1"


def test_a_truncated_file(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = file.read_bytes()
    for share in (0.3, 0.9):
        file.write_bytes(whole[: int(share * len(whole))])
        assert "truncated" in refused(file, capfd)


def test_gzip_that_ends_well_but_early(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(placed(VOXELS), tmp_path / "whole.nii")
    short = tmp_path / "short.nii.gz"
    short.write_bytes(gzip.compress((tmp_path / "whole.nii").read_bytes()[:-100]))
    told = refused(short, capfd)
    assert told == "a/case: is truncated; it holds 4092 of 4192 bytes"


@pytest.mark.parametrize("content", [b"", b"no volume"])
def test_what_is_no_volume(content: bytes, file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(content)
    assert "cannot be read; it is truncated, damaged or empty" in refused(file, capfd)


def header(path: Path, *dims: int) -> None:
    """A NIfTI file whose header says another size."""
    write(placed(VOXELS), path)
    content = bytearray(path.read_bytes())
    struct.pack_into(f"<{len(dims)}h", content, 40, *dims)
    path.write_bytes(content)


def four(path: Path) -> None:
    write(sitk.JoinSeries([placed(VOXELS), placed(VOXELS)]), path)


def flat(path: Path) -> None:
    write(placed(VOXELS)[:, :, 0], path)


def colour(path: Path) -> None:
    write(sitk.Compose([placed(VOXELS)] * 3), path)


def nothing(path: Path) -> None:
    holes = VOXELS.astype(np.float32)
    holes[0, 0, 0] = np.nan
    write(placed(holes), path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (four, "is 4-D (20x16x6x2); expected a 3-D volume"),
        (flat, "is 2-D (20x16); expected a 3-D volume"),
        (colour, "holds 3 numbers a voxel; expected one"),
        (nothing, "holds NaN or infinite voxels"),
        (lambda path: header(path, 3, 0, 16, 6), "cannot be read"),
        (lambda path: header(path, 3, 30000, 30000, 30000), "30000x30000x30000 voxels; expected"),
    ],
)
def test_what_is_not_one_scan(
    make: Callable[[Path], None], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ("x.nrrd" if make is nothing else "x.nii")
    make(path)
    assert said in refused(path, capfd)


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("hole", [np.nan, np.inf])
def test_nan_in_nifti(
    name: str, kind: type, hole: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its reader takes them for 0."""
    holes = VOXELS.astype(kind)
    write(placed(holes), tmp_path / name)
    assert (sitk.GetArrayFromImage(read_volume(tmp_path / name, name)) == holes).all()
    holes[-1, -1, -1] = hole
    write(placed(holes), tmp_path / name)
    assert "holds NaN or infinite voxels" in refused(tmp_path / name, capfd)


def test_nan_in_nifti_of_another_byte_order(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.nii"
    header = bytearray(352)
    struct.pack_into(">i", header, 0, 348)
    struct.pack_into(">8h", header, 40, 3, 20, 16, 6, 1, 1, 1, 1)
    struct.pack_into(">2h", header, 70, 16, 32)
    struct.pack_into(">8f", header, 76, *[1.0] * 8)
    struct.pack_into(">f", header, 108, 352)
    header[344:348] = b"n+1\0"
    holes = VOXELS.astype(">f4").reshape(6, 16, 20)
    path.write_bytes(header + holes.tobytes())
    assert (sitk.GetArrayFromImage(read_volume(path, "x")) == holes).all()
    holes[2, 3, 4] = np.nan
    path.write_bytes(header + holes.tobytes())
    assert "holds NaN or infinite voxels" in refused(path, capfd)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("x.nrrd", b"encoding: ", b"data file: secret.raw\nencoding: "),
        ("x.nrrd", b"encoding: ", b"datafile:/etc/passwd\nencoding: "),
        ("x.nrrd", b"encoding: ", b"  Data \t File : LIST\r\nencoding: "),
        ("x.nrrd", b"\n\n", b"\r\ndata file: secret.raw\r\n\r\n"),
        ("x.mha", b"= LOCAL", b"= ../secret"),
        ("x.mha", b" = LOCAL", b"\t= ../secret"),
        ("x.mha", b"ElementDataFile = LOCAL", b" ElementDataFile = ../secret"),
        ("x.mha", b"= LOCAL", b": ../secret"),
        ("x.mha", b"= LOCAL", b"= LOCAL/../../secret"),
        ("x.mha", b"= LOCAL", b"= LIST"),
        ("x.mha", b"ElementDataFile", b"Offset = 0 0\nElementDataFile = LOCAL\nElementDataFile"),
    ],
)
def test_a_header_that_leads_elsewhere(
    name: str, before: bytes, after: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    changed(tmp_path / name, before, after)
    assert "keeps its voxels in another file" in refused(tmp_path / name, capfd)


def changed(path: Path, before: bytes, after: bytes) -> None:
    """A volume whose file holds something else in one place."""
    write(placed(VOXELS), path)
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after, 1))


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("x.mha", b"ElementDataFile", b"Comment = much\n" * 5500 + b"ElementDataFile"),
        ("x.mha", b"ElementDataFile", b"Element"),
        ("x.nrrd", b"encoding: ", b"# much\n" * 12000 + b"data file: secret\nencoding: "),
    ],
)
def test_a_header_that_does_not_end(
    name: str, before: bytes, after: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    changed(tmp_path / name, before, after)
    assert "or its header does not end within 64 KiB" in refused(tmp_path / name, capfd)


def test_a_later_line_is_not_taken_for_the_last(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hidden = b"Offset = 0 0\nElementDataFile = LOCAL\n" + b"Comment = much\n" * 5500
    changed(tmp_path / "x.mha", b"ElementDataFile = LOCAL", hidden + b"ElementDataFile = ../secret")
    assert "keeps its voxels in another file" in refused(tmp_path / "x.mha", capfd)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("x.mha", b"ElementDataFile = LOCAL", b"\tElementDataFile=LOCAL \r"),
        ("x.nrrd", b"encoding: ", b"# my data file: none\nencoding: "),
        ("x.nrrd", b"\n\n", b"\r\n\r\n"),
    ],
)
def test_a_header_in_another_hand(name: str, before: bytes, after: bytes, tmp_path: Path) -> None:
    changed(tmp_path / name, before, after)
    image = read_volume(tmp_path / name, "")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VOXELS)


def masked(folder: Path, array: np.ndarray, *lesion: int) -> np.ndarray:
    """What a study's slices mark, where the mask's file holds this array."""
    write(placed(np.full((2, 16, 16), 40, np.int16)), folder / "ct.nrrd")
    write(placed(array), folder / "mask.nrrd")
    return marked(folder, "mask.nrrd", *lesion)


def marked(folder: Path, name: str, *lesion: int) -> np.ndarray:
    study = Scan(
        name="c", patient="", source=folder, image=folder / "ct.nrrd", masks=(folder / name,),
        region=folder / name,
    )  # fmt: skip
    settings = Settings(
        spacing=(1, 1, 1), size=16, window=Window(level=0, width=400), bits=8, lesion=lesion
    )
    slices = study.slices(settings)
    assert slices.masks is not None
    assert slices.regions is not None
    if not lesion:
        np.testing.assert_array_equal(slices.regions, slices.masks)
    return slices.masks


@pytest.mark.parametrize(
    ("value", "kind", "lesion"),
    [
        (0.9999, np.float32, ()),
        (1.0004, np.float64, (1,)),
        (300, np.uint16, (300,)),
        (256, np.int32, ()),
        (300, np.float32, (2, 300)),
    ],
)
def test_what_is_lesion_is_told_by_a_masks_own_values(
    value: float, kind: type, lesion: tuple[int, ...], tmp_path: Path
) -> None:
    array = np.zeros((2, 16, 16), kind)
    array[1, 3:5, 6:9] = value
    np.testing.assert_array_equal(masked(tmp_path, array, *lesion), array != 0)


def test_a_value_above_255_is_no_255(tmp_path: Path) -> None:
    assert not masked(tmp_path, np.full((2, 16, 16), 300, np.uint16), 255).any()


def test_a_mask_whose_header_scales_it(tmp_path: Path) -> None:
    array = np.zeros((2, 16, 16), np.uint8)
    array[0, 2:9, 4] = 255
    masked(tmp_path, array)
    write(placed(array), tmp_path / "mask.nii")
    content = bytearray((tmp_path / "mask.nii").read_bytes())
    struct.pack_into("<2f", content, 112, 1 / 255, 0)
    (tmp_path / "mask.nii").write_bytes(content)
    np.testing.assert_array_equal(marked(tmp_path, "mask.nii", 1), array != 0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([-1, 0, 1], "is no mask: it holds -1; expected 0 and the numbers of labels"),
        ([-1024.0, 40.0], "is no mask: it holds -1024"),
        (range(257), "is no mask: it holds 257 values; expected 256 at most"),
    ],
)
def test_a_scan_is_no_mask(values: Sequence[float], said: str, tmp_path: Path) -> None:
    """A CT in place of a mask would mark nearly everything."""
    array = np.resize(np.array(values), (2, 16, 16)).astype(np.float32)
    with pytest.raises(DataError, match=f"mask.nrrd: {said}"):
        masked(tmp_path, array)
    with pytest.raises(DataError, match=f"mask.nrrd: {said}"):
        masked(tmp_path, array.astype(np.int16))


@pytest.mark.parametrize("value", [0.6, 0.01, 1.002, -0.5])
def test_a_mask_of_shares_is_refused(value: float, tmp_path: Path) -> None:
    told = "mask.nrrd: mask holds values that are no whole numbers"
    with pytest.raises(DataError, match=told):
        masked(tmp_path, np.full((2, 16, 16), value, np.float32))


def test_a_volume_whose_file_tells_no_sides(tmp_path: Path) -> None:
    """Its reader takes the first axis for the patient's left all the same."""
    image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16))
    for name in ("x.nii", "x.nrrd", "x.mha"):
        sitk.WriteImage(image, str(tmp_path / name))
        assert oriented(read_volume(tmp_path / name, name)), name
    nifti = bytearray((tmp_path / "x.nii").read_bytes())
    for codes, known in (((1, 0), True), ((0, 2), True), ((0, 0), False)):
        struct.pack_into("<2h", nifti, 252, *codes)  # qform and sform
        (tmp_path / "x.nii").write_bytes(nifti)
        assert oriented(read_volume(tmp_path / "x.nii", "x")) is known, codes
    nrrd = (tmp_path / "x.nrrd").read_bytes()
    for space, known in ((b"RAS", True), (b"scanner-xyz", False), (b"3D-right-handed", False)):
        (tmp_path / "x.nrrd").write_bytes(nrrd.replace(b"left-posterior-superior", space))
        assert oriented(read_volume(tmp_path / "x.nrrd", "x")) is known, space


AXES = b"TransformMatrix = 1 0 0 0 1 0 0 0 1\n"
DIRECTIONS = b"space directions: (1,0,0) (0,1,0) (0,0,1)\n"


@pytest.mark.parametrize(
    ("suffix", "line", "instead", "known"),
    [
        ("mha", b"= RAI", b"= ???", False),
        ("mha", b"= RAI", b"= LPS", True),
        ("mha", b"AnatomicalOrientation = RAI\n", b"", True),
        ("mha", AXES, b"", False),
        ("mha", AXES + b"Offset = 0 0 0\n", b"", False),
        ("mha", AXES, AXES.replace(b"TransformMatrix = ", b"\tRotation:"), True),
        ("mha", AXES, AXES.replace(b"TransformMatrix", b"Orientation"), True),
        ("mha", AXES, b"Comment = no " + AXES, False),
        ("nrrd", DIRECTIONS, b"", False),
        ("nrrd", DIRECTIONS, b"space directions: none none none\n", False),
        ("nrrd", DIRECTIONS, b"#" + DIRECTIONS, False),
        ("nrrd", DIRECTIONS, DIRECTIONS.replace(b": ", b":="), False),
        ("nrrd", DIRECTIONS, DIRECTIONS.replace(b"space d", b"Space D"), True),
    ],
)
def test_a_volume_whose_header_gives_no_axes(
    suffix: str, line: bytes, instead: bytes, known: bool, tmp_path: Path
) -> None:
    """Its reader takes those of the voxels for the patient's all the same."""
    path = tmp_path / f"x.{suffix}"
    voxels = np.frombuffer(AXES + b"\n" + DIRECTIONS, np.uint8)  # which are no header
    sitk.WriteImage(sitk.GetImageFromArray(np.resize(voxels, (3, 8, 8))), str(path))
    content = path.read_bytes()
    assert line in content
    path.write_bytes(content.replace(line, instead, 1))
    assert oriented(read_volume(path, "x")) is known
