from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_support import noise, write_png
from PIL import Image

from pseudolabel_kit.data.readers import read_image, read_mask
from pseudolabel_kit.errors import DataError

WHERE = "manifest.csv row 2: image x"


@pytest.mark.parametrize("suffix", ["png", "tif", "npy"])
@pytest.mark.parametrize(
    ("dtype", "shape"),
    [(np.uint8, (5, 7)), (np.uint16, (5, 7)), (np.uint8, (5, 7, 3))],
)
def test_pixels_survive(tmp_path: Path, suffix: str, dtype: type, shape: tuple[int, ...]) -> None:
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, top, shape, endpoint=True).astype(dtype)
    path = tmp_path / f"ä b.{suffix}"
    if suffix == "npy":
        np.save(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    image = read_image(path, WHERE)
    assert image.dtype == np.float32
    assert image.shape == (3 if len(shape) == 3 else 1, 5, 7)
    wanted = np.moveaxis(np.atleast_3d(pixels), -1, 0)
    assert (np.rint(image.astype(np.float64) * top) == wanted).all()


def test_jpeg_is_near(tmp_path: Path) -> None:
    pixels = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg", WHERE)[0] * 255 - pixels).max() < 8


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "CMYK"])
def test_other_modes_are_understood(tmp_path: Path, mode: str) -> None:
    pixels = (noise() > 128).astype(np.uint8) * 255
    Image.fromarray(pixels).convert(mode).save(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif", WHERE)
    assert (image[0] * 255 == pixels).all()


def test_float_files_hold_zero_to_one(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((4, 5))
    np.save(tmp_path / "a.npy", pixels)
    assert np.allclose(read_image(tmp_path / "a.npy", WHERE)[0], pixels)
    Image.fromarray(pixels.astype(np.float32)).save(tmp_path / "a.tif")
    assert np.allclose(read_image(tmp_path / "a.tif", WHERE)[0], pixels)


def save(pixels: object) -> Callable[[Path], None]:
    return lambda path: np.save(path, np.asarray(pixels))


def cut_png(path: Path) -> None:
    write_png(path, noise(64, 64))
    path.write_bytes(path.read_bytes()[:1500])


def deep_colour(path: Path) -> None:
    """A valid 1x1 PNG of 16-bit colour, which Pillow cannot write."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    body = zlib.compress(b"\0" + b"\1\2\3\4\5\6")
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def two_pages(path: Path) -> None:
    page = Image.fromarray(noise().astype(np.uint8))
    page.save(path, save_all=True, append_images=[page])


def transparent(path: Path) -> None:
    Image.new("RGBA", (4, 4), (9, 9, 9, 100)).save(path)


def pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def boastful(path: Path) -> None:
    """An NPY header that claims a terabyte."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": (2**20, 2**20)}
    )
    path.write_bytes(buffer.getvalue())


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("a.npy", save([[0.5, np.nan]]), "holds NaN or infinite pixels"),
        ("a.npy", save([[0.5, np.inf]]), "holds NaN or infinite pixels"),
        ("a.npy", save([[0.0, 1.5]]), "holds values from 0 to 1.5; expected 0 to 1"),
        ("a.npy", save([[-3, 0]]), "holds values from -3 to 0; expected 0 to 65535"),
        ("a.npy", save(np.zeros((2, 2, 2, 2))), r"has shape \(2, 2, 2, 2\); expected \(H,W\)"),
        ("a.npy", save(np.zeros((3, 5, 5))), r"has shape \(3, 5, 5\)"),
        ("a.npy", save(np.zeros((0, 5))), r"has shape \(0, 5\)"),
        ("a.npy", save([["a"]]), "holds <U1"),
        ("a.npy", pickled, "is no NPY file that can be read"),
        ("a.npy", boastful, "is no NPY file that can be read"),
        ("a.npy", Path.touch, "is no NPY file that can be read"),
        ("a.png", Path.touch, r"is empty \(0 bytes\); expected PNG, JPEG, TIFF or NPY"),
        ("a.dcm", lambda p: p.write_text("DICM"), "is no image that can be read; expected PNG"),
        ("a.png", cut_png, "is truncated or damaged"),
        ("a.png", deep_colour, "is 16-bit colour"),
        ("a.tif", two_pages, "has 2 pages"),
        ("a.png", transparent, "is partly transparent"),
    ],
)
def test_bad_images_are_named(
    tmp_path: Path, name: str, write: Callable[[Path], object], said: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(DataError, match=f"^{WHERE} {said}") as caught:
        read_image(tmp_path / name, WHERE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pixels", [30, 99])
def test_decompression_bombs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: int
) -> None:
    write_png(tmp_path / "a.png", noise())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
    if pixels > 64:
        assert read_image(tmp_path / "a.png", WHERE).shape == (1, 8, 8)
    else:
        with pytest.raises(DataError, match="is larger than 30 pixels"):
            read_image(tmp_path / "a.png", WHERE)


@pytest.mark.parametrize("value", [1, 255, 7])
@pytest.mark.parametrize("suffix", ["png", "npy"])
def test_masks_hold_zero_and_one_other_value(tmp_path: Path, value: int, suffix: str) -> None:
    truth = noise() > 128
    path = tmp_path / f"m.{suffix}"
    pixels = truth.astype(np.uint8) * value
    np.save(path, pixels) if suffix == "npy" else Image.fromarray(pixels).save(path)
    mask = read_mask(path, WHERE)
    assert mask.dtype == np.bool_
    assert (mask == truth[None]).all()


@pytest.mark.parametrize("mode", ["1", "RGB", "P"])
def test_masks_in_other_modes(tmp_path: Path, mode: str) -> None:
    truth = noise() > 128
    image = Image.fromarray(truth.astype(np.uint8) * (1 if mode == "P" else 255))
    if mode == "P":
        image.putpalette([0, 0, 0, 200, 30, 0])  # palette colours do not matter, indices do
    else:
        image = image.convert(mode)
    image.save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png", WHERE) == truth[None]).all()


def test_empty_and_full_masks(tmp_path: Path) -> None:
    for value in (0, 255):
        write_png(tmp_path / "m.png", np.full((3, 3), value))
        assert (read_mask(tmp_path / "m.png", WHERE) == bool(value)).all()


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        ([[0, 1, 2]], "holds the values 0, 1, 2; expected 0 and one other"),
        ([[7, 255]], "holds the values 7, 255; expected"),
        ([list(range(9))], "holds the values 0, 1, 2, 3, 4, …; expected"),
    ],
)
def test_masks_with_other_values_name_them(tmp_path: Path, pixels: object, said: str) -> None:
    write_png(tmp_path / "m.png", pixels)
    with pytest.raises(DataError, match=f"^{WHERE} {said}"):
        read_mask(tmp_path / "m.png", WHERE)


def test_coloured_masks_are_refused(tmp_path: Path) -> None:
    write_png(tmp_path / "m.png", np.random.default_rng(0).integers(0, 2, (4, 4, 3)) * 255)
    with pytest.raises(DataError, match="is coloured"):
        read_mask(tmp_path / "m.png", WHERE)
