"""Maps laid over an image: one scale of colours from 0 to 1, so that no legend is needed."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

COLOURS = mpl.colormaps["inferno"]
STRONGEST = 0.75  # how much a map of 1 covers the image; a map of 0 leaves it as it is
OUTLINE = np.array([0.0, 0.9, 1.0])
PIXELS_PER_LINE = 300  # an outline is one pixel wide for every so many of the longer side


def overlay(
    grey: NDArray[np.floating], map_: NDArray[np.floating], *, outline: float | None = None
) -> NDArray[np.uint8]:
    """A map (H,W) in [0, 1] over a grey image (H,W) in [0, 1], as RGB (H,W,3).

    The stronger the map, the less of the image shows through, and the brighter its colour:
    from dark violet to pale yellow. A cyan line is drawn where the map passes `outline`.
    """
    picture = blended(np.repeat(np.clip(grey, 0, 1)[..., None], 3, axis=-1), map_)
    if outline is not None:
        picture[inner_border(map_ >= outline)] = OUTLINE
    rounded: NDArray[np.uint8] = np.rint(picture * 255).astype(np.uint8)
    return rounded


def blended(image: NDArray[np.floating], map_: NDArray[np.floating]) -> NDArray[np.float64]:
    """A map (H,W) over an RGB image (H,W,3), both in [0, 1]."""
    value = np.clip(np.nan_to_num(map_), 0, 1)
    alpha = STRONGEST * np.sqrt(value)[..., None]
    picture: NDArray[np.float64] = (1 - alpha) * image + alpha * COLOURS(value)[..., :3]
    return picture


def inner_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of a mask (H,W) that lie at its edge; an edge of the image is none."""
    width = max(1, round(max(mask.shape) / PIXELS_PER_LINE))
    inside = Image.fromarray(mask.astype(np.uint8)).filter(ImageFilter.MinFilter(2 * width + 1))
    border: NDArray[np.bool_] = mask & (np.asarray(inside) == 0)
    return border
