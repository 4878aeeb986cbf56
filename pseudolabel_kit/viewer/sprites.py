"""Planes of bytes inside a page: several slices below each other in one lossless picture."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pseudolabel_kit.data.fit import resize

Bytes = NDArray[np.uint8]
EACH = 16  # slices of a sprite: what is asked of the model, and decoded by the page, at once
STEPS = 63  # of a map: finer ones would weigh half as much again, and cannot be told by eye
SIDE = 384  # px; of the longer side of an image that is larger


def frame(height: int, width: int) -> tuple[int, int]:
    """The size in which images of (height, width) are shown.

    >>> frame(224, 224), frame(512, 256)
    ((224, 224), (384, 192))
    """
    factor = min(1.0, SIDE / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def shown(image: NDArray[np.float32], size: tuple[int, int]) -> Bytes:
    """An image (C,h,w) in [0, 1] as bytes (H,W,C) of a frame's size."""
    fitted = np.clip(resize(image, size), 0, 1)
    return _bytes(np.moveaxis(fitted, 0, -1))


def stepped(maps: NDArray[np.floating[Any] | np.bool_]) -> Bytes:
    """Maps in [0, 1] as bytes of 64 values, 0 and 255 among them.

    >>> stepped(np.array([0.0, 0.5, 1.0]))
    array([  0, 130, 255], dtype=uint8)
    """
    return _bytes(np.rint(np.clip(np.nan_to_num(maps), 0, 1) * STEPS) / STEPS)


def encoded(planes: Bytes) -> str:
    """A sprite (B,H,W) or (B,H,W,3) as WebP in base64: exact, and smaller than PNG."""
    height, width = planes.shape[1:3]
    tall = planes.reshape(len(planes) * height, width, *planes.shape[3:])
    buffer = io.BytesIO()
    Image.fromarray(tall).save(buffer, "WEBP", lossless=True, quality=20, method=2)
    return base64.b64encode(buffer.getvalue()).decode()


def decoded(sprite: str, size: tuple[int, int]) -> Bytes:
    """The planes (B,H,W,3) of a sprite whose planes have this size (H,W)."""
    with Image.open(io.BytesIO(base64.b64decode(sprite))) as tall:
        pixels = np.asarray(tall.convert("RGB"))
    return pixels.reshape(-1, *size, 3)


def _bytes(values: NDArray[np.floating[Any]]) -> Bytes:
    found: Bytes = np.rint(values * 255).astype(np.uint8)
    return found
