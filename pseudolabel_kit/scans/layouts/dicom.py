"""Trees of DICOM files: a study a series, wherever its slices lie.

Folders in such trees are often called after patients: what is said of a file shows no folder that
holds a word of any patient's name, id or birthday, nor one in which no file tells whose it is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.scan import Series
from pseudolabel_kit.scans.series import Header, read_header
from pseudolabel_kit.scans.study import Found, Skipped
from pseudolabel_kit.scans.tree import Source

MAGIC = b"DICM"  # after 128 bytes


@dataclass(frozen=True)
class Veil:
    """What may be shown of the paths below a source.

    Attributes:
        private: words that name patients.
        known: folders with a file below them that tells whose it is.
    """

    private: frozenset[str]
    known: frozenset[str]

    def over(self, path: str) -> str:
        """The path with a star for each part that is not to be shown.

        >>> Veil(frozenset({"doe"}), frozenset({"DOE_J", "DOE_J/CT"})).over("DOE_J/CT/0001")
        '*/CT/*'
        """
        steps = [PurePosixPath(path), *PurePosixPath(path).parents][-2::-1]
        return "/".join("*" if self.hides(str(step)) else step.name for step in steps) or "."

    def hides(self, path: str) -> bool:
        """Whether the last part of a path is not to be shown."""
        name = PurePosixPath(path).name.lower()
        words = set(re.split(r"[\W_]+", name))
        named = words & self.private or any(len(p) > 2 and p in name for p in self.private)
        return bool(named) or path not in self.known


def recognise(source: Source) -> bool:
    """Whether the source holds DICOM files."""
    return any(_is_dicom(path) for path in source.files)


def find(source: Source) -> Found:
    """A study for every series; files that are no image are left out, a line a folder."""
    series: dict[str, list[Header]] = defaultdict(list)
    unread: Counter[str] = Counter()
    for path in filter(_is_dicom, source.files):
        try:
            header = read_header(path, "")
        except DataError:
            unread[source.said(path.parent)] += 1
        else:
            series[header.series].append(header)
    veil = _veil(source, [header for headers in series.values() for header in headers])
    studies = [_study(source, headers, veil) for headers in series.values()]
    links = [(each.name, each.reason.removeprefix(each.name)) for each in source.skipped]
    files = [
        (folder, f": {count} DICOM files are damaged or no images, as reports; expected CT slices")
        for folder, count in sorted(unread.items())
    ]
    skipped = [Skipped(veil.over(path), veil.over(path) + reason) for path, reason in links + files]
    return sorted(studies, key=lambda study: study.said), skipped


def _veil(source: Source, headers: Iterable[Header]) -> Veil:
    private: set[str] = set()
    known: set[str] = set()
    for header in headers:
        private |= header.private
        folder = PurePosixPath(source.said(header.path.parent))
        known |= {str(step) for step in (folder, *folder.parents)}
    return Veil(frozenset(private), frozenset(known))


def _study(source: Source, headers: Sequence[Header], veil: Veil) -> Series:
    first = headers[0]
    patient = _pseudonym(source, first.patient)
    name = f"{patient}-{_pseudonym(source, first.series)[:6]}"
    folder = source.top(first.path)
    return Series(
        name=name,
        patient=patient,
        folder="" if veil.hides(folder) else folder,
        said=f"{veil.over(source.said(first.path.parent))}, series {name}",
        paths=tuple(header.path for header in headers),
    )


def _pseudonym(source: Source, identity: str) -> str:
    return hmac.new(source.salt, identity.encode(), hashlib.sha256).hexdigest()[:10]


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == MAGIC
