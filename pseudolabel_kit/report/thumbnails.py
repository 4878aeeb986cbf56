"""Small pictures inside a page: fitted to one size, marked, and encoded."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pseudolabel_kit.report.overlays import inner_border

SIDE = 224
TRUTH, MARKED = (0.0, 0.9, 1.0), (1.0, 1.0, 1.0)
Colour = tuple[float, float, float]


def fitted_image(image: NDArray[Any]) -> NDArray[np.float64]:
    """(C,H,W) in [0, 1] as (h,w,3), the longer side 224."""
    height, width = image.shape[-2:]
    factor = SIDE / max(height, width)
    size = max(1, round(height * factor)), max(1, round(width * factor))
    layers = [fitted(layer, size, Image.Resampling.BICUBIC) for layer in image]
    stacked = np.stack(layers if len(layers) == 3 else layers[:1] * 3, axis=-1)
    return np.clip(stacked, 0, 1)


def fitted(
    layer: NDArray[Any], size: tuple[int, int], resample: Image.Resampling
) -> NDArray[np.float64]:
    """A layer (H,W) in another size (h, w)."""
    resized = Image.fromarray(layer.astype(np.float32)).resize(size[::-1], resample)
    found: NDArray[np.float64] = np.asarray(resized, dtype=np.float64)
    return found


def filled(
    image: NDArray[np.float64], mask: NDArray[np.bool_], colour: Colour = TRUTH
) -> NDArray[np.float64]:
    """An image (h,w,3) with a mask (h,w) shining through, and its outline."""
    picture = image.copy()
    picture[mask] = 0.65 * picture[mask] + 0.35 * np.array(colour)
    trace(picture, mask, colour)
    return picture


def trace(picture: NDArray[np.float64], mask: NDArray[np.bool_], colour: Colour) -> None:
    """Draw the outline of a mask (h,w) into a picture (h,w,3)."""
    picture[inner_border(mask)] = colour


def encoded(picture: NDArray[np.float64]) -> str:
    """A data URI: JPEG, since a page of noisy PNGs would weigh ten times as much."""
    buffer = io.BytesIO()
    pixels = Image.fromarray((np.clip(picture, 0, 1) * 255).round().astype(np.uint8))
    pixels.save(buffer, "JPEG", quality=85, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
