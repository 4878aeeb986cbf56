"""A dataset that a CSV file lists: image, mask, region, label, patient, split."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.data.hashing import Hashes, digest, hashed
from pseudolabel_kit.data.pack import Progress
from pseudolabel_kit.data.readers import read_image, read_mask
from pseudolabel_kit.data.table import FILES, FileColumn, Line, read_table
from pseudolabel_kit.errors import DataError, nearest
from pseudolabel_kit.interfaces import Dataset, Row, Sample

Told = TypeVar("Told")


@dataclass(frozen=True, kw_only=True)
class Manifest(Dataset):
    """Images that a CSV file lists, a row each.

    Columns: `image` (required), `mask`, `region`, `label`, `patient`, `split`; an empty cell
    means that the thing is not there; other columns are ignored, and so is `region_by`, where
    `plk data lungs` says what drew a region. Paths are relative to the manifest's
    folder and stay inside it. Classes are the labels found, sorted, as numbers where all are
    numbers; without any label there is one class, "any".

    Attributes:
        path: the CSV file, or the folder that holds `manifest.csv`.
    """

    path: str

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that occur, sorted."""
        return self._classes

    @property
    def lesion_classes(self) -> tuple[int, ...]:
        """None named: the labelled masks tell."""
        return ()

    def rows(self) -> Sequence[Row]:
        """Every row, in the file's order.

        Raises:
            DataError: the manifest is missing or wrong; the message names the row.
        """
        return self._rows

    def read(self, index: int) -> Sample:
        """Decode one row's files.

        Raises:
            DataError: a file is unreadable, or not what it should be; names file and row.
        """
        line = self._lines[index]
        image = read_image(self._folder / line.image, line.where("image"))
        size = image.shape[1:]
        return Sample(
            image=image,
            mask=self._plane(line, "mask", size),
            region=self._plane(line, "region", size),
        )

    def fingerprint(self) -> str:
        """A hash of the manifest, and of every file's size and time of change."""
        digest = hashlib.sha256(self._file.read_bytes())
        for line in self._lines:
            for path in filter(None, map(line.path, FILES)):
                status = (self._folder / path).stat()
                digest.update(f"\n{path}\0{status.st_size}\0{status.st_mtime_ns}".encode())
        return f"manifest:{digest.hexdigest()}"

    def _plane(
        self, line: Line, what: FileColumn, size: tuple[int, ...]
    ) -> NDArray[np.bool_] | None:
        if not line.path(what):
            return None
        plane = read_mask(self._folder / line.path(what), line.where(what))
        if plane.shape[1:] != size:
            (height, width), (expected_height, expected_width) = plane.shape[1:], size
            raise DataError(
                f"{line.where(what)} is {width}x{height} px; expected the "
                f"{expected_width}x{expected_height} px of its image {line.image}"
            )
        return plane

    @cached_property
    def _file(self) -> Path:
        path = Path(self.path).expanduser()
        file = path / "manifest.csv" if path.is_dir() else path
        if not file.is_file():
            raise DataError(f"{file} does not exist; expected a manifest.csv or its folder")
        return file

    @cached_property
    def _folder(self) -> Path:
        return self._file.parent

    @cached_property
    def _lines(self) -> tuple[Line, ...]:
        return read_table(self._file)

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        labels = {line.label for line in self._lines if line.label}
        self._refuse_untrained(labels)
        return class_names(labels)

    @cached_property
    def _rows(self) -> tuple[Row, ...]:
        return as_rows(self._lines, self._classes)

    def _refuse_untrained(self, labels: set[str]) -> None:
        """A label that is measured but never trained on is taken for a misspelling."""
        trained = {line.label for line in self._lines if line.split not in ("val", "test")} - {""}
        for line in self._lines:
            if trained and line.label in labels - trained:
                raise DataError(
                    f"{line.at}: unknown label '{line.label}'{nearest(line.label, trained)}; "
                    f"training rows have {', '.join(sorted(trained))}"
                )


def class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels as classes: sorted, as numbers where all are numbers; "any" where there is none."""
    in_order = sorted(labels)
    if _all_numbers(in_order):
        in_order.sort(key=float)  # a stable sort: "1" stays before "1.0"
    return tuple(in_order) or ("any",)


def as_rows(lines: Iterable[Line], classes: Sequence[str]) -> tuple[Row, ...]:
    """What the lines of a manifest say of their images."""
    numbers = {name: number for number, name in enumerate(classes)}
    return tuple(
        Row(
            name=line.image,
            label=numbers.get(line.label),
            patient=line.patient or None,
            split=line.split,
            has_mask=bool(line.mask),
            has_region=bool(line.region),
        )
        for line in lines
    )


def shown_lesions(
    lines: Sequence[Line], folder: Path, progress: Progress | None = None
) -> list[bool]:
    """Whether each line's mask has foreground; no image is read.

    Args:
        lines: of a manifest.
        folder: the manifest's.
        progress: told (lines done, lines in all).

    Raises:
        DataError: a mask is unreadable, or no mask; names file and row.
    """

    def shown(line: Line) -> bool:
        path = line.path("mask")
        return bool(path and read_mask(folder / path, line.where("mask")).any())

    return list(_each(shown, lines, progress))


def hashes(
    lines: Sequence[Line], folder: Path, progress: Progress | None = None
) -> tuple[list[bytes], Hashes]:
    """What tells copies of images: digests of the pixels, and hashes of what they show.

    Args:
        lines: of a manifest.
        folder: the manifest's.
        progress: told (lines done, lines in all).

    Raises:
        DataError: an image is unreadable; names file and row.
    """

    def read(line: Line) -> tuple[bytes, Hashes]:
        image = read_image(folder / line.image, line.where("image"))
        return digest(image), hashed(image[None])

    digests, found = zip(*_each(read, lines, progress), strict=True)
    return list(digests), np.concatenate(found)


def _each(
    work: Callable[[Line], Told], lines: Sequence[Line], progress: Progress | None
) -> Iterator[Told]:
    """What a few threads tell of the lines, in their order."""
    with ThreadPoolExecutor() as pool:
        for done, told in enumerate(pool.map(work, lines), start=1):
            yield told
            if progress:
                progress(done, len(lines))


def _all_numbers(labels: Iterable[str]) -> bool:
    try:
        return all(math.isfinite(float(label)) for label in labels)
    except ValueError:
        return False
