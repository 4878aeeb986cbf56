"""How well lungs that were found agree with an expert's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from pseudolabel_kit.data.readers import read_mask
from pseudolabel_kit.data.table import Line, read_table
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.lungs.methods import Method
from pseudolabel_kit.lungs.pieces import pieces
from pseudolabel_kit.scans.slice_lungs import Mask


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """One row's two masks in pixels.

    Attributes:
        row: its number, from 0.
        both: in both masks.
        sizes: of the two together.
    """

    row: int
    both: int
    sizes: int

    @property
    def dice(self) -> float:
        """2 both / sizes; 1 where both masks are empty."""
        return 2 * self.both / self.sizes if self.sizes else 1.0


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Dice over some rows.

    Attributes:
        images: how many.
        pooled: of all their pixels together.
        median: over images.
        low: the 5th percentile over images.
        least: the worst image's.
    """

    images: int
    pooled: float
    median: float
    low: float
    least: float

    @classmethod
    def of(cls, overlaps: Sequence[Overlap]) -> Summary:
        """The figures of one row or more."""
        dice = [each.dice for each in overlaps]
        both, sizes = sum(o.both for o in overlaps), sum(o.sizes for o in overlaps)
        return cls(
            images=len(dice),
            pooled=2 * both / sizes if sizes else 1.0,
            median=float(np.median(dice)),
            low=float(np.percentile(dice, 5)),
            least=min(dice),
        )


Summaries: TypeAlias = dict[str, Summary]  # by the method's name


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Every method's overlap with the regions that came with a dataset.

    Attributes:
        file: the manifest.
        lines: its rows.
        overlaps: by the method's name, of all rows with such a region.
    """

    file: Path
    lines: tuple[Line, ...]
    overlaps: dict[str, tuple[Overlap, ...]]

    @property
    def rows(self) -> list[int]:
        """The numbers of the rows that were compared, from 0."""
        return [each.row for each in next(iter(self.overlaps.values()))]

    @property
    def measured(self) -> list[Line]:
        """These rows."""
        return [self.lines[row] for row in self.rows]

    def sides(self) -> dict[str, Summaries]:
        """All rows, and each side of the split: every method's figures."""
        known = dict.fromkeys(line.split for line in self.measured if line.split)
        found = {"all": self._summaries(self.measured)}
        for side in known:
            found[side] = self._summaries([line for line in self.measured if line.split == side])
        return found

    def patients(self) -> dict[str, Summaries]:
        """Each patient who is known: every method's figures, the worst of the last one first."""
        lines: dict[str, list[Line]] = {}
        for line in self.measured:
            lines.setdefault(line.patient, []).append(line)
        found = {who: self._summaries(theirs) for who, theirs in lines.items() if who}
        last = list(self.overlaps)[-1]
        return dict(sorted(found.items(), key=lambda each: each[1][last].pooled))

    def worst(self, method: str, count: int) -> list[Overlap]:
        """The rows with the least overlap, the worst first."""
        return sorted(self.overlaps[method], key=lambda each: (each.dice, each.row))[:count]

    def _summaries(self, lines: Sequence[Line]) -> Summaries:
        chosen = {line.at for line in lines}
        return {
            name: Summary.of([o for o in overlaps if self.lines[o.row].at in chosen])
            for name, overlaps in self.overlaps.items()
        }


def agreement(
    file: Path, methods: Sequence[Method], progress: Callable[[str, int, int], None]
) -> Agreement:
    """Find lungs in every row that came with a region, and compare; nothing is written.

    Args:
        file: the manifest.
        methods: of different names.
        progress: told (method, rows done, rows in all).

    Raises:
        DataError: the manifest is wrong, has no such row, or a file cannot be read.
    """
    lines = read_table(file)
    rows = [i for i, line in enumerate(lines) if line.region and not line.region_by]
    if not rows:
        raise DataError(f"{file}: no row came with a region; expected some to compare with")
    every = pieces(file.parent, lines, rows)
    overlaps: dict[str, tuple[Overlap, ...]] = {}
    for method in methods:
        found = []
        for row, mask in method.find(every):
            found.append(_overlap(row, mask, expert(file.parent, lines[row], mask.shape)))
            progress(method.name, len(found), len(rows))
        overlaps[method.name] = tuple(sorted(found, key=lambda each: each.row))
    return Agreement(file=file, lines=lines, overlaps=overlaps)


def expert(folder: Path, line: Line, shape: tuple[int, ...]) -> Mask:
    """The region (H,W) that came with a row.

    Raises:
        DataError: it cannot be read, or has another size than its image.
    """
    region: Mask = read_mask(folder / line.region, line.where("region"))[0]
    if region.shape != shape:
        found, size = ("x".join(map(str, each[::-1])) for each in (region.shape, shape))
        raise DataError(f"{line.where('region')} is {found} px; expected the {size} of its image")
    return region


def as_table(agreement: Agreement, named: int) -> dict[str, Any]:
    """Everything for programs; rows are counted from 1, in the order of the manifest."""
    sides, patients = agreement.sides(), agreement.patients()

    def dice(of: Mapping[str, Summaries], method: str) -> dict[str, Any]:
        return {group: vars(figures[method]) for group, figures in of.items()}

    return {
        "manifest": str(agreement.file),
        "methods": {
            name: {
                "dice": dice(sides, name),
                "patients": dice(patients, name),
                "worst": [
                    {"row": o.row + 1, "image": agreement.lines[o.row].image, "dice": o.dice}
                    for o in agreement.worst(name, named)
                ],
                "images": {agreement.lines[o.row].image: o.dice for o in overlaps},
            }
            for name, overlaps in agreement.overlaps.items()
        },
    }


def _overlap(row: int, mask: Mask, truth: Mask) -> Overlap:
    return Overlap(row=row, both=int((mask & truth).sum()), sizes=int(mask.sum() + truth.sum()))
