"""Small datasets for the tests of `pseudolabel_kit.data`."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pseudolabel_kit.interfaces import Dataset, Row, Sample


@dataclass(frozen=True, kw_only=True)
class Listed(Dataset):
    """Samples that the test made."""

    given_rows: Sequence[Row]
    samples: Sequence[Sample]
    name: str = "listed"
    lesions: tuple[int, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        return ("ill", "sound")

    @property
    def lesion_classes(self) -> tuple[int, ...]:
        return self.lesions

    def rows(self) -> Sequence[Row]:
        return self.given_rows

    def read(self, index: int) -> Sample:
        return self.samples[index]

    def fingerprint(self) -> str:
        return self.name


def sample(
    shape: tuple[int, ...] = (1, 8, 6), seed: int = 0, mask: bool = True, region: bool = True
) -> Sample:
    """8-bit noise with a random mask and region."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, shape).astype(np.float32) / np.float32(255)
    plane = (1, *shape[1:])
    return Sample(
        image=image,
        mask=rng.random(plane) > 0.5 if mask else None,
        region=rng.random(plane) > 0.3 if region else None,
    )


def listed(samples: Sequence[Sample], name: str = "listed", **known: object) -> Listed:
    """A dataset of samples whose rows say what they hold; label 0, split labelled."""
    facts: dict[str, object] = {"label": 0, "split": "labelled", **known}
    rows = [
        Row(
            name=f"row{i}",
            has_mask=sample.mask is not None,
            has_region=sample.region is not None,
            **facts,  # type: ignore[arg-type]
        )
        for i, sample in enumerate(samples)
    ]
    return Listed(given_rows=rows, samples=samples, name=name)


def write_png(path: Path, pixels: object, dtype: type = np.uint8) -> str:
    """An image file; returns its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=dtype)).save(path)
    return path.name


def write_manifest(folder: Path, lines: Sequence[Mapping[str, str]]) -> Path:
    """manifest.csv with the columns that any line has."""
    columns = list(dict.fromkeys(column for line in lines for column in line))
    file = folder / "manifest.csv"
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(lines)
    return file


def noise(height: int = 8, width: int = 8, top: int = 256, seed: int = 0) -> np.ndarray:
    """Random grey values."""
    return np.random.default_rng(seed).integers(0, top, (height, width))
