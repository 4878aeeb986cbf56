"""Whatever lies in a source folder: it is named in one line, and nothing of it is written."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from data_support import noise, write_png
from scans_support import chest, placed, write, write_series

from pseudolabel_kit.cli.main import call

CHEST = chest((16, 16, 4))
QUICK = ["--size", "16", "--spacing", "8,8,10", "--jobs", "1"]


def truncated(source: Path) -> None:
    write(CHEST.image, source / "bad.nii")
    (source / "bad.nii").write_bytes((source / "bad.nii").read_bytes()[:-99])


def truncated_gzip(source: Path) -> None:
    write(CHEST.image, source / "bad.nii.gz")
    (source / "bad.nii.gz").write_bytes((source / "bad.nii.gz").read_bytes()[:-99])


def another_grid(source: Path) -> None:
    write(CHEST.image, source / "bad.nii")
    write(placed(np.ones((4, 16, 15), np.uint8), (8, 8, 10)), source / "bad_mask.nii")


def sized(path: Path, *dims: int) -> None:
    """A volume whose header says another size."""
    write(CHEST.image, path)
    content = bytearray(path.read_bytes())
    struct.pack_into(f"<{len(dims)}h", content, 40, *dims)
    path.write_bytes(content)


def zero_size(source: Path) -> None:
    sized(source / "bad.nii", 3, 0, 16, 4)


def four_dimensions(source: Path) -> None:
    write(sitk.JoinSeries([CHEST.image, CHEST.image]), source / "bad.nii")


def bomb(source: Path) -> None:
    """A few kilobytes that claim to be 54 GB."""
    sized(source / "x.nii", 3, 30000, 30000, 30000)
    (source / "bad.nii.gz").write_bytes(
        gzip.compress((source / "x.nii").read_bytes() + bytes(2**24))
    )
    (source / "x.nii").unlink()


def loop(source: Path) -> None:
    (source / "bad").symlink_to(source)


def way_out(source: Path) -> None:
    write(CHEST.image, source.parent / "secret.nii")
    (source / "bad.nii").symlink_to(source.parent / "secret.nii")


def nan(source: Path) -> None:
    write(sitk.Cast(CHEST.image, sitk.sitkFloat32) * float("nan"), source / "bad.nii")


BAD: dict[Callable[[Path], None], str] = {
    truncated: "bad.nii: is truncated; it holds",
    truncated_gzip: "bad.nii.gz: cannot be read; it is truncated, damaged or empty",
    another_grid: "bad_mask.nii: 15x16x4 voxels of 8x8x10 mm from (-90, -80, 100), another grid",
    zero_size: "bad.nii: cannot be read",
    four_dimensions: "bad.nii: is 4-D (16x16x4x2); expected a 3-D volume",
    bomb: "bad.nii.gz: 30000x30000x30000 voxels; expected from 1 to",
    loop: "bad: is a link to a folder; expected the folder",
    way_out: "bad.nii: is a link out of the source; expected a file",
    nan: "bad.nii: holds NaN or infinite voxels",
}


@pytest.mark.parametrize("plant", BAD, ids=lambda plant: plant.__name__)
def test_a_bad_volume(
    plant: Callable[[Path], None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(CHEST.image, tmp_path / "source" / "good.nii")
    plant(tmp_path / "source")
    line = ["data", "import", str(tmp_path / "source"), "--out", str(tmp_path / "out"), *QUICK]
    assert call(line) == 1
    told = capfd.readouterr()
    assert told.err.startswith(f"skipped: {BAD[plant]}")
    assert told.err.count("\n") == 1
    assert told.out.startswith("volumes: 1 study; 1 skipped; 4 images\n")
    assert not [path for path in (tmp_path / "out").rglob("*") if "bad" in path.name]


def giant(path: Path) -> None:
    """A picture of a hundred bytes that claims 40,000 x 40,000 pixels."""
    head = struct.pack(">2I5B", 40000, 40000, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(64))), (b"IEND", b""))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )
    )


def test_a_picture_that_would_fill_the_memory(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_png(tmp_path / "source" / "ill" / "good.png", noise(16, 16))
    giant(tmp_path / "source" / "ill" / "bad.png")
    line = ["data", "import", str(tmp_path / "source"), "--out", str(tmp_path / "out")]
    assert call([*line, "--size", "16", "--jobs", "1"]) == 1
    assert capfd.readouterr().err.startswith("skipped: ill/bad.png is larger than ")
    assert not (tmp_path / "out" / "images" / "ill-bad").exists()


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ({"slices": [0, 1, 3, 4, 5]}, "missing slices"),
        ({"tags": {"0008|0060": "MR"}}, "modality MR; expected CT"),
        ({"shear": 3}, "gantry tilt"),
    ],
)
def test_a_bad_series(
    planted: dict[str, object], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    deep = chest((16, 16, 6)).image
    write_series(tmp_path / "source" / "a", deep)
    write_series(tmp_path / "source" / "b", deep, uid="1.2.826.2", **planted)  # type: ignore[arg-type]
    line = ["data", "import", str(tmp_path / "source"), "--out", str(tmp_path / "out"), *QUICK]
    assert call(line) == 1
    told = capfd.readouterr()
    assert told.err.startswith("skipped: series ")
    assert said in told.err
    assert told.err.count("\n") == 1
    assert len(list((tmp_path / "out" / "images").iterdir())) == 1
