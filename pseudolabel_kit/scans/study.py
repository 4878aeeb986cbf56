"""What is imported at a time: a study, which becomes slices."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.scans.choices import LabelFrom
from pseudolabel_kit.scans.geometry import Triple
from pseudolabel_kit.scans.window import Wanted


class Skipped(NamedTuple):
    """What was left out.

    Attributes:
        name: of the study or the file.
        reason: one line, which names the file.
    """

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How studies become slices.

    Attributes:
        spacing: mm (x, y, z) of the volume that is cut into slices.
        size: pixels a side of a slice.
        window: what of the HU, or of other values, is shown.
        bits: 8 or 16 of a grey value.
        lesion: the values of a mask that are lesion; empty means all but 0.
        label_from: where classes come from; None leaves it to the layout.
    """

    spacing: Triple
    size: int
    window: Wanted
    bits: int
    lesion: tuple[int, ...]
    label_from: LabelFrom | None = None

    def is_lesion(self, mask: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of a mask's own values, whole numbers, are lesion."""
        return np.isin(mask, self.lesion) if self.lesion else mask != 0


@dataclass(frozen=True, kw_only=True)
class Slices:
    """A study that was read.

    Attributes:
        images: (D,H,W) grey or (D,H,W,3) in colour, of 8 or 16 bits.
        masks: (D,H,W) lesion, or None.
        regions: (D,H,W) lung, or None.
        facts: what the way back needs, as JSON has it.
        oriented: whether the first slice is known to be nearest the feet, and in each the
            patient's left to be on its right and the front on top.
    """

    images: NDArray[Any]
    masks: NDArray[np.bool_] | None
    regions: NDArray[np.bool_] | None
    facts: Mapping[str, Any]
    oriented: bool = False


@dataclass(frozen=True, kw_only=True)
class Study(ABC):
    """One scan or picture with all that belongs to it.

    Attributes:
        name: what its files are called; safe in a path.
        patient: who it is of, as the manifest says it; "" where nobody knows.
        folder: the first folder below the source, which may be a class.
    """

    name: str
    patient: str
    folder: str = ""

    @property
    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """Every file that it is read from."""

    @abstractmethod
    def slices(self, settings: Settings) -> Slices:
        """Read and cut it.

        Raises:
            DataError: it cannot be used; names the file.
        """

    def stamp(self, settings: Settings) -> str:
        """A hash of its files' sizes and times, and of the settings: what is done once is kept."""
        digest = hashlib.sha256(repr(settings).encode())
        for path in self.files:
            status = path.stat()
            digest.update(f"\n{path.name}\0{status.st_size}\0{status.st_mtime_ns}".encode())
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class FileStudy(Study):
    """An image in a file, with masks in files beside it.

    Attributes:
        source: the folder that errors name files below.
        image: what is cut into slices.
        masks: lesions, on the image's grid; what any of them marks is one.
        region: lungs, on the image's grid.
    """

    source: Path
    image: Path
    masks: tuple[Path, ...] = ()
    region: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Image, masks and region."""
        return (self.image, *self.masks, *filter(None, [self.region]))

    def said(self, path: Path) -> str:
        """How errors call a file."""
        return path.relative_to(self.source).as_posix()


def without_masks(study: Study) -> Study:
    """A scan apart from the lesion masks that lie beside it, for who is not to see the truth."""
    return replace(study, masks=()) if isinstance(study, FileStudy) else study


LONGEST = 200  # bytes; file systems take 255
Found: TypeAlias = tuple[Sequence[Study], Sequence[Skipped]]


def safe_name(text: str) -> str:
    """A text as a file's or folder's name, of at most 200 bytes.

    >>> safe_name("Fall 3/a b.v2"), safe_name(".."), safe_name("Müller")
    ('Fall-3-a-b.v2', 'study', 'Müller')
    """
    name = re.sub(r"[^\w.-]+", "-", text).strip(".-") or "study"
    if len(name.encode()) <= LONGEST:
        return name
    return f"{name[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
