"""Reads and checks the lines of a manifest, without opening an image."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pseudolabel_kit.errors import DataError, nearest
from pseudolabel_kit.interfaces import Split

FileColumn = Literal["image", "mask", "region"]
FILES: tuple[FileColumn, ...] = get_args(FileColumn)
COLUMNS = (*FILES, "label", "patient", "split", "region_by")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row of a manifest; "" stands for what is not there.

    Attributes:
        at: "manifest.csv row 17", where 17 is its line in the file, the header being line 1.
        image: path, relative to the manifest's folder; so are mask and region.
        mask: path.
        region: path.
        label: class name.
        patient: identity.
        split: the side, or None.
        region_by: what drew the region; "" where it came with the dataset.
    """

    at: str
    image: str
    mask: str
    region: str
    label: str
    patient: str
    split: Split | None
    region_by: str

    def path(self, column: FileColumn) -> str:
        """What the row gives in a column of paths."""
        return {"image": self.image, "mask": self.mask, "region": self.region}[column]

    def where(self, column: FileColumn) -> str:
        """How errors begin: "manifest.csv row 17: image images/x.png"."""
        return f"{self.at}: {column} {self.path(column)}"


def read_table(file: Path) -> tuple[Line, ...]:
    """Every line of a manifest; the files that it names exist inside its folder.

    Raises:
        DataError: what is wrong, and in which row.
    """
    lines: list[Line] = []
    seen: dict[str, str] = {}
    inside = Inside(file.parent)
    for at, cells in _cells(file):
        line = _line(at, cells)
        for column in FILES:
            if path := line.path(column):
                inside.check(path, line.where(column))
        if (before := seen.setdefault(os.path.normpath(line.image), at)) != at:
            raise DataError(f"{line.where('image')} is listed before, in {before}")
        lines.append(line)
    if not lines:
        raise DataError(f"{file.name} lists no images; expected a row each below the header")
    return tuple(lines)


def _cells(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(file.name, header)
            for cells in reader:
                at = f"{file.name} row {reader.line_num}"
                if "\0" in "".join(cells):
                    raise DataError(f"{at} holds a null character; expected text")
                if len(cells) > len(header):
                    raise DataError(
                        f"{at} has {len(cells)} cells, the header {len(header)}; "
                        "put quotes around a cell with a comma"
                    )
                if any(map(str.strip, cells)):
                    yield at, dict(zip(header, map(str.strip, cells), strict=False))
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{file.name} is not UTF-8; save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{file.name} row {reader.line_num}: {error}") from None


def _check_header(name: str, header: Sequence[str]) -> None:
    if "image" not in header:
        found = ", ".join(header) or "nothing"
        raise DataError(f"{name} has no column 'image' (its header: {found})")
    for column in COLUMNS:
        if header.count(column) > 1:
            raise DataError(f"{name} has the column '{column}' twice")
    missing = [column for column in COLUMNS if column not in header]
    for column in header:
        if column not in COLUMNS and (hint := nearest(column, missing)):
            warnings.warn(f"{name}: the column '{column}' is ignored{hint}", stacklevel=2)


def _line(at: str, cells: dict[str, str]) -> Line:
    found = {column: cells.get(column, "") for column in COLUMNS}
    if not found["image"]:
        raise DataError(f"{at} names no image")
    split = found.pop("split")
    return Line(at=at, **found, split=_split(split, at))


def _split(word: str, at: str) -> Split | None:
    known: tuple[Split, ...] = get_args(Split)
    for split in known:
        if word == split:
            return split
    if word:
        raise DataError(
            f"{at}: there is no split '{word}'{nearest(word, known)}; "
            f"expected {', '.join(known)} or nothing"
        )
    return None


class Inside:
    """Refuses paths that are missing or leave the manifest's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root = os.path.realpath(folder)

    def check(self, path: str, where: str) -> None:
        """Refuse one path; `where` begins the error.

        Raises:
            DataError: it is absolute, leads out of the folder, or to no file.
        """
        if os.path.isabs(path):
            raise DataError(f"{where} is an absolute path; expected one below the manifest")
        real = os.path.realpath(self._folder / path)
        if os.path.commonpath([real, self._root]) != self._root:
            raise DataError(f"{where} lies outside the manifest's folder")
        if not os.path.isfile(real):
            raise DataError(f"{where} {'is no file' if os.path.exists(real) else 'does not exist'}")
