"""What of a dataset is looked at together: a scan whose HU are known, or a few single slices."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.data.readers import read_image
from pseudolabel_kit.data.table import Inside, Line
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.geometry import Triple
from pseudolabel_kit.scans.lungs import shown_lungs
from pseudolabel_kit.scans.slice_lungs import Mask, lungs
from pseudolabel_kit.scans.window import Window

TOGETHER = 16  # single slices


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What an import knows of a scan.

    Attributes:
        said: how errors call it.
        window: what of its HU the slices show.
        spacing: mm between the slices' pixels.
        images: the paths of all its slices, in their order, also of those that no row names.
    """

    said: str
    window: Window
    spacing: Triple
    images: tuple[str, ...]

    def lungs(self, folder: Path) -> dict[str, Mask] | None:
        """The lungs (H,W) by image, found in 3-D; None where slices differ in size.

        Raises:
            DataError: an image is missing, lies outside the folder or cannot be read.
        """
        inside, planes = Inside(folder), []
        for image in self.images:
            where = f"{self.said}: image {image}"
            inside.check(image, where)
            planes.append(read_image(folder / image, where).mean(axis=0))
        if len({plane.shape for plane in planes}) > 1:
            return None
        found = shown_lungs(np.stack(planes), self.window, self.spacing)
        return dict(zip(self.images, found, strict=True))


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some rows of a manifest.

    Attributes:
        folder: the manifest's.
        at: the rows' numbers, from 0.
        lines: the rows.
        scan: some of whose slices they are, in their order; None = each stands for itself.
    """

    folder: Path
    at: tuple[int, ...]
    lines: tuple[Line, ...]
    scan: Scan | None = None

    def grey(self) -> list[NDArray[np.float32]]:
        """The images (H,W) in [0, 1].

        Raises:
            DataError: one cannot be read.
        """
        return [
            read_image(self.folder / line.image, line.where("image")).mean(axis=0)
            for line in self.lines
        ]


def by_threshold(piece: Piece) -> list[Mask]:
    """The lungs (H,W) of each row, without a model.

    Raises:
        DataError: an image cannot be read.
    """
    if piece.scan and (found := piece.scan.lungs(piece.folder)):
        return [found[os.path.normpath(line.image)] for line in piece.lines]
    return [lungs(plane[None])[0] for plane in piece.grey()]


def pieces(folder: Path, lines: Sequence[Line], chosen: Sequence[int]) -> list[Piece]:
    """The chosen rows: those of a scan together, all others a few at a time.

    A scan brings all its slices, whichever of them are chosen: in 3-D, one hangs on the others.

    Raises:
        DataError: what an import wrote of a study is damaged.
    """
    scans, places = _scans(folder)
    of_scan: dict[int, list[tuple[int, int]]] = {}
    single: list[int] = []
    for i in chosen:
        if (place := places.get(os.path.normpath(lines[i].image))) is None:
            single.append(i)
        else:
            of_scan.setdefault(place[0], []).append((place[1], i))

    def piece(rows: Sequence[int], scan: Scan | None) -> Piece:
        chosen_lines = tuple(lines[i] for i in rows)
        return Piece(folder=folder, at=tuple(rows), lines=chosen_lines, scan=scan)

    whole = [
        piece([i for _, i in sorted(members)], scans[number]) for number, members in of_scan.items()
    ]
    starts = range(0, len(single), TOGETHER)
    return whole + [piece(single[start : start + TOGETHER], None) for start in starts]


def _scans(folder: Path) -> tuple[list[Scan], dict[str, tuple[int, int]]]:
    """The scans of an import in HU, and which slice of which one an image is."""
    scans: list[Scan] = []
    places: dict[str, tuple[int, int]] = {}
    for file in sorted((folder / "studies").glob("*.json")):
        try:
            facts: dict[str, Any] = json.loads(file.read_bytes())
            if not facts.get("hu"):  # pictures, and volumes of other values
                continue
            window = Window(**facts["window"])
            x, y, z = map(float, facts["geometry"]["slices"]["spacing"])
            images = tuple(os.path.normpath(row["image"]) for row in facts["rows"])
        except (OSError, ValueError, KeyError, TypeError):
            raise DataError(
                f"{file}: is damaged; expected what plk data import writes of a study"
            ) from None
        places |= {image: (len(scans), number) for number, image in enumerate(images)}
        said = file.relative_to(folder).as_posix()
        scans.append(Scan(said=said, window=window, spacing=(x, y, z), images=images))
    return scans, places
