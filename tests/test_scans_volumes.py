"""What is no whole volume in 3-D is refused in one line, by its name."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scans_support import placed, write

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.volumes import SUFFIXES, read_volume, stem

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
    path = tmp_path / ("x.nrrd" if make is nothing else "x.nii")  # NIfTI's reader drops NaN
    make(path)
    assert said in refused(path, capfd)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("x.nrrd", b"encoding: ", b"data file: secret.raw\nencoding: "),
        ("x.nrrd", b"encoding: ", b"datafile:/etc/passwd\nencoding: "),
        ("x.mha", b"ElementDataFile = LOCAL", b"ElementDataFile = ../secret"),
    ],
)
def test_a_header_that_leads_elsewhere(
    name: str, before: bytes, after: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(placed(VOXELS), tmp_path / name)
    content = (tmp_path / name).read_bytes()
    assert before in content
    (tmp_path / name).write_bytes(content.replace(before, after))
    assert "keeps its voxels in another file" in refused(tmp_path / name, capfd)
