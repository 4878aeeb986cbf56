"""A very small trained run, and images for it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import pseudolabel_kit

SIDE = 32


@functools.cache
def train_tiny(folder: Path) -> Path:
    """Three steps on a tiny phantom: the run's folder. It must not be changed."""
    config = {
        "data": {"source": f"phantom:size={SIDE}:patients=51:slices=1", "cache": str(folder / "c")},
        "method": {"backbone": "vgg-multiscale:width=0.125", "explainer": "ig:steps=2,caam"},
        "train": {"steps": 3, "batch_size": 2, "checkpoint_every": 1, "accelerator": "cpu"},
        "audit": {"rows": 2},
        "evaluate": {"bootstrap": 0, "figures": 1},
    }
    return pseudolabel_kit.train(config, out=folder / "run").folder


def noise(height: int, width: int, *channels: int, seed: int = 0) -> NDArray[np.uint8]:
    """Random pixels (height, width) or (height, width, channels)."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, *channels), dtype=np.uint8)


def write_image(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """An image file of the kind that its suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    return path


def read_pixels(path: Path) -> NDArray[Any]:
    """An image file's pixels as they are stored."""
    with Image.open(path) as image:
        return np.asarray(image)
