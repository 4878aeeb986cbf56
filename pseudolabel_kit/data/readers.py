"""Reads one image, mask or region from PNG, JPEG, TIFF or NPY.

`where` begins every error: it names the file and the row that asks for it. Orientation tags
are ignored: pixels are taken as they are stored, like those of the masks beside them.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pseudolabel_kit.errors import DataError

FORMATS = ("PNG", "JPEG", "TIFF")
# What Pillow's decoders raise on broken files.
_BROKEN = (OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, struct.error)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def read_image(path: Path, where: str) -> NDArray[np.float32]:
    """An image (C,H,W) float32 in [0, 1]: C is 1 for grey, 3 for colour.

    8-bit values are divided by 255, 16-bit ones by 65535; floats must be in [0, 1]. An NPY
    file holds (H,W), (H,W,1) or (H,W,3).

    Raises:
        DataError: the file cannot be decoded, or its values are out of range.
    """
    return scale_pixels(_decode(path, where, indices=False), where)


def scale_pixels(pixels: NDArray[Any], where: str) -> NDArray[np.float32]:
    """Pixels (H,W) or (H,W,C), as they are stored, as an image (C,H,W) in [0, 1].

    Raises:
        DataError: their shape, type or values are none of an image.
    """
    pixels = _require_pixels(pixels, where)
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all():
            raise DataError(f"{where} holds NaN or infinite pixels")
        top = 1
    else:
        top = 255 if pixels.dtype == np.uint8 else 65535
    if pixels.min() < 0 or pixels.max() > top:
        found = f"{pixels.min():g} to {pixels.max():g}"
        raise DataError(f"{where} holds values from {found}; expected 0 to {top}")
    scaled = pixels.astype(np.float32) / np.float32(top)
    return np.ascontiguousarray(np.moveaxis(np.atleast_3d(scaled), -1, 0))


def read_mask(path: Path, where: str) -> NDArray[np.bool_]:
    """A mask (1,H,W) of a file that holds 0 and at most one other value.

    Raises:
        DataError: the file cannot be decoded, is coloured, or holds other values.
    """
    pixels = np.atleast_3d(_decode(path, where, indices=True))
    if (pixels != pixels[..., :1]).any():
        raise DataError(f"{where} is coloured; expected one channel of 0 and one other value")
    plane = pixels[..., 0]
    values = np.unique(plane)
    if np.count_nonzero(values) > 1:
        found = ", ".join(f"{value:g}" for value in values[:5]) + (", …" if len(values) > 5 else "")
        raise DataError(f"{where} holds the values {found}; expected 0 and one other, as 0 and 255")
    return np.asarray(plane != 0)[None]


def _decode(path: Path, where: str, *, indices: bool) -> NDArray[Any]:
    """Pixels (H,W) or (H,W,C) as stored: uint8, or up to 16 bits in a wider type, or float."""
    if path.suffix.lower() == ".npy":
        return _decode_npy(path, where)
    try:
        with Image.open(path, formats=FORMATS) as image:
            _refuse_odd(image, where)
            image.load()
            return _native(image, where, indices=indices)
    except _BOMB:
        raise DataError(f"{where} is larger than {Image.MAX_IMAGE_PIXELS} pixels") from None
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        found = "is empty (0 bytes)" if empty else "is no image that can be read"
        raise DataError(f"{where} {found}; expected {', '.join(FORMATS)} or NPY") from None
    except _BROKEN as error:
        raise DataError(f"{where} is truncated or damaged: {error}") from None


def _refuse_odd(image: Image.Image, where: str) -> None:
    width, height = image.size
    if Image.MAX_IMAGE_PIXELS and width * height > Image.MAX_IMAGE_PIXELS:
        raise DataError(f"{where} is larger than {Image.MAX_IMAGE_PIXELS} pixels")
    if (pages := getattr(image, "n_frames", 1)) > 1:
        raise DataError(f"{where} has {pages} pages; expected one image a file")
    tiles = getattr(image, "tile", [])  # how the file stores its pixels
    if image.mode in ("RGB", "RGBA") and any("16" in str(tile[3]) for tile in tiles):
        raise DataError(f"{where} is 16-bit colour, of which 8 would be lost; save it as NPY")


def _native(image: Image.Image, where: str, *, indices: bool) -> NDArray[Any]:
    mode = image.mode
    if mode in ("LA", "RGBA", "PA"):
        if np.asarray(image.getchannel("A")).min() < 255:
            raise DataError(f"{where} is partly transparent; save it without an alpha channel")
        image = image.convert({"LA": "L", "RGBA": "RGB", "PA": "P"}[mode])
    elif mode == "1":
        image = image.convert("L")
    elif mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        image = image.convert("RGB")
    if image.mode == "P" and not indices:
        image = image.convert("RGB")
    return np.asarray(image)


def _decode_npy(path: Path, where: str) -> NDArray[Any]:
    try:  # mapped, so that a header cannot claim more than the file holds
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{where} is no NPY file that can be read: {error}") from None
    return np.asarray(_require_pixels(array, where))


def _require_pixels(array: NDArray[Any], where: str) -> NDArray[Any]:
    if array.ndim not in (2, 3) or 0 in array.shape or array.shape[2:] not in ((), (1,), (3,)):
        raise DataError(f"{where} has shape {array.shape}; expected (H,W), (H,W,1) or (H,W,3)")
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if array.dtype.kind not in "uif":
        raise DataError(f"{where} holds {array.dtype}; expected uint8, uint16 or float")
    return array
