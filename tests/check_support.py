"""A dataset on disk that is sound, for tests that spoil it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from data_support import write_manifest, write_png
from PIL import Image

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.data.source import open_dataset

SIDE = 64
SIDES = ["labelled"] * 8 + ["unlabelled"] * 8 + ["val"] * 4 + ["test"] * 4


class Scans:
    """Twenty-four patients of two slices, every one sound; a test spoils some of them.

    Ill is every second patient; a lesion's mask is a square within the region, a disc.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[dict[str, str]] = []
        places = np.linspace(-1, 1, SIDE)
        self.region = (places[:, None] ** 2 + places**2) < 0.8
        for i in range(48):
            name, ill = f"{i:02d}.png", i // 2 % 2 == 0
            self.image(i, slices()[i])
            self.mask(i, square(20, 16 + i % 5) if ill else square(0, 0))
            write_png(folder / "regions" / name, self.region * 255)
            self.lines.append(
                {
                    "image": f"images/{name}",
                    "mask": f"masks/{name}",
                    "region": f"regions/{name}",
                    "label": "ill" if ill else "sound",
                    "patient": f"P{i // 2}",
                    "split": SIDES[i // 2],
                }
            )

    def image(self, row: int, pixels: np.ndarray) -> None:
        write_png(self.folder / f"images/{row:02d}.png", np.clip(pixels, 0, 255))

    def pixels(self, row: int) -> np.ndarray:
        return np.asarray(Image.open(self.folder / f"images/{row:02d}.png"))

    def mask(self, row: int, mask: np.ndarray) -> None:
        write_png(self.folder / f"masks/{row:02d}.png", mask * 255)

    def write(self) -> Path:
        """The manifest, as the lines are now; returns its folder."""
        write_manifest(self.folder, self.lines)
        return self.folder


def square(top: int, size: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[top : top + size, top : top + size] = True
    return mask


@cache
def slices() -> list[np.ndarray]:
    """Two of each of twenty-four patients, grey values from 0 to 255."""
    dataset = open_dataset(DataConfig(source=f"phantom:size={SIDE}:patients=24:slices=2"))
    return [dataset.read(i).image[0] * 255 for i in range(48)]
