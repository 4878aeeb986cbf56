"""Trees of DICOM files: a study a series, wherever its slices lie."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.scan import Series
from pseudolabel_kit.scans.series import Header, read_header
from pseudolabel_kit.scans.study import Found, Skipped
from pseudolabel_kit.scans.tree import Source

MAGIC = b"DICM"  # after 128 bytes


def recognise(source: Source) -> bool:
    """Whether the source holds DICOM files."""
    return any(_is_dicom(path) for path in source.files)


def find(source: Source) -> Found:
    """A study for every series; files that are no image are left out, a line a folder."""
    series: dict[str, list[Header]] = defaultdict(list)
    unread: dict[Path, int] = defaultdict(int)
    for path in filter(_is_dicom, source.files):
        try:
            header = read_header(path, "")
        except DataError:
            unread[path.parent] += 1
        else:
            series[header.series].append(header)
    private = {word for headers in series.values() for each in headers for word in each.private}
    studies = [_study(source, headers) for headers in series.values()]
    return sorted(studies, key=lambda study: study.said), [
        Skipped(
            told := veiled(source.said(folder), private),
            f"{told}: {count} DICOM files are damaged or no images, as reports; expected CT slices",
        )
        for folder, count in sorted(unread.items())
    ]


def veiled(path: str, private: Iterable[str]) -> str:
    """A path without the folders that name a patient.

    >>> veiled("DOE_JANE/CT/0001", {"doe", "jane"})
    '*/CT/0001'
    """
    parts = path.split("/")
    return "/".join("*" if _names(part, set(private)) else part for part in parts)


def _study(source: Source, headers: list[Header]) -> Series:
    private = {word for header in headers for word in header.private}
    first = headers[0]
    patient = _pseudonym(source, first.patient)
    folder = source.top(first.path)
    name = f"{patient}-{_pseudonym(source, first.series)[:6]}"
    return Series(
        name=name,
        patient=patient,
        folder="" if _names(folder, private) else folder,
        said=f"{veiled(source.said(first.path.parent), private)}, series {name}",
        paths=tuple(header.path for header in headers),
    )


def _pseudonym(source: Source, identity: str) -> str:
    return hmac.new(source.salt, identity.encode(), hashlib.sha256).hexdigest()[:10]


def _names(part: str, private: set[str]) -> bool:
    """Whether a folder's name holds a word of the patient's, also within a word of its own."""
    words = set(re.split(r"[\W_]+", part.lower()))
    return bool(words & private) or any(len(p) > 3 and p in part.lower() for p in private)


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == MAGIC
