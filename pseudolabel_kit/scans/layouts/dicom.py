"""Trees of DICOM files: a study a series of a patient, wherever its slices lie.

Folders and files in such trees are often called after patients, in more ways than a list of words
can foresee: what is said of them shows no name of either. A folder's name is a class only where
series of several patients lie in it.
"""

from __future__ import annotations

import filecmp
import hashlib
import hmac
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.choices import LabelFrom
from pseudolabel_kit.scans.scan import Series
from pseudolabel_kit.scans.series import Header, read_header
from pseudolabel_kit.scans.study import Found, Settings, Skipped, Slices
from pseudolabel_kit.scans.tree import Source

MAGIC = b"DICM"  # after 128 bytes
INDEX = "DICOMDIR"  # a disc's table of contents, which every export to one has
CALLED = (".dcm", ".ima")  # names that nothing but DICOM has
UNCALLED = ("", ".img")  # names that DICOM has, and much else
HEADERS = (".hdr", ".HDR")  # beside an .img: the pair is Analyze, NIfTI or Interfile
GROUPS = (0x0002, 0x0008)  # which a file that lacks those bytes begins with
GROUP_LENGTH = 0x0000  # a group's own length, in 4 bytes, which its first element may be
FIRST = 0x0018  # the last element of them that may be a file's first: SOPInstanceUID
KINDS = (b"CS", b"DA", b"LO", b"OB", b"SH", b"TM", b"UI", b"UL")  # value representations of those
LENGTH = 1024  # bytes of its value, at most, where its representation is not told
LONE = (
    "the folder of its class holds one patient alone, and its name may tell who that is; import "
    "with --label-from none, and fill in the column label by hand"
)


@dataclass(frozen=True, kw_only=True)
class Lone(Series):
    """A series in a folder of one patient, whose name is no class."""

    def slices(self, settings: Settings) -> Slices:
        """As of any series, where classes do not come from folders."""
        if settings.label_from is LabelFrom.FOLDER:
            raise DataError(f"{self.said}: {LONE}")
        return super().slices(settings)

    def stamp(self, settings: Settings) -> str:
        """Nothing where it is refused: what was done while others lay beside it is not kept."""
        return "" if settings.label_from is LabelFrom.FOLDER else super().stamp(settings)


def recognise(source: Source) -> bool:
    """Whether the source holds DICOM files."""
    return any(is_dicom(path) for path in source.files)


def find(source: Source) -> Found:
    """A study for every series of a patient; files that are no image are counted."""
    series: dict[tuple[str, str], list[Header]] = defaultdict(list)
    unread: list[Path] = []
    for path in filter(claims, source.files):
        if header := _header(path):
            series[header.patient, header.series].append(header)
        else:
            unread.append(path)
    if series:
        unread = [path for path in unread if path.name.upper() != INDEX]
    classes = _classes(source, [header for headers in series.values() for header in headers])
    groups = sorted(map(_once, series.values()), key=_kind)
    studies = [_study(source, headers, classes) for headers in groups]
    return sorted(studies, key=lambda study: study.patient), _skipped(source, len(unread))


def _header(path: Path) -> Header | None:
    """What a file says of itself, or None where it is damaged or no image."""
    try:
        return read_header(path, "") if is_dicom(path) else None
    except DataError:
        return None


def _once(headers: Sequence[Header]) -> list[Header]:
    """A series without identical copies of its files, as an export that was made twice has."""
    places: dict[tuple[float, ...], list[Header]] = defaultdict(list)
    kept: list[Header] = []
    for header in headers:
        rivals = places[tuple(header.position.tolist())] if header.placed else []
        if not any(filecmp.cmp(header.path, rival.path, shallow=False) for rival in rivals):
            rivals.append(header)
            kept.append(header)
    return kept


def _skipped(source: Source, unread: int) -> list[Skipped]:
    """What was left out, counted by its reason."""
    links = Counter(each.reason.removeprefix(each.name) for each in source.skipped)
    said = [f"a path that is not shown ({n} such){reason}" for reason, n in sorted(links.items())]
    if unread:
        said.append(
            f"a DICOM file ({unread} such): is damaged or no image, as a report; expected CT slices"
        )
    return [Skipped(line, line) for line in said]


def _classes(source: Source, headers: Iterable[Header]) -> set[str]:
    """The first folders that hold several patients; one who is written in two ways is one."""
    patients: dict[str, set[str]] = defaultdict(set)
    for header in headers:
        if header.identified:
            letters = filter(str.isalnum, header.patient.casefold())
            patients[source.top(header.path)].add("".join(letters))
    return {folder for folder, names in patients.items() if len(names) > 1}


def _study(source: Source, headers: Sequence[Header], classes: set[str]) -> Series:
    first = headers[0]
    patient = _pseudonym(source, first.patient)
    name = f"{patient}-{_pseudonym(source, first.series)[:6]}"
    folder = source.top(first.path)
    lone = bool(folder) and folder not in classes
    return (Lone if lone else Series)(
        name=name,
        patient=patient,
        folder="" if lone else folder,
        said=f"series {name} ({_kind(headers)})",
        paths=tuple(header.path for header in headers),
    )


def _kind(headers: Sequence[Header]) -> str:
    """What tells series of a patient apart, and nobody's name."""
    modalities = "/".join(sorted({header.modality or "unknown" for header in headers}))
    return f"{modalities}, {len(headers)} file{'s' if len(headers) > 1 else ''}"


def _pseudonym(source: Source, identity: str) -> str:
    written = identity.encode(errors="surrogateescape")  # tags may be in any character set
    return hmac.new(source.salt, written, hashlib.sha256).hexdigest()[:10]


def claims(path: Path) -> bool:
    """Whether a file is DICOM or is called so, as one may be that is damaged."""
    return path.suffix.lower() in CALLED or is_dicom(path)


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do, or, by a name as theirs, as those of old scanners.

    These lack the preamble, and are told by their first element: GDCM, asked of any other file,
    may take more memory than there is.
    """
    with path.open("rb") as file:
        head = file.read(132)
    return head[128:] == MAGIC or (_may_be_dicom(path) and _is_element(head))


def _may_be_dicom(path: Path) -> bool:
    """Whether a file's name is one that DICOM files have."""
    suffix = path.suffix.lower()
    if suffix == ".img" and any(path.with_suffix(header).exists() for header in HEADERS):
        return False
    return suffix in (*CALLED, *UNCALLED) or suffix[1:].isdigit()  # also by a UID


def _is_element(head: bytes) -> bool:
    """Whether bytes are an element that may be a data set's first."""
    if len(head) < 8:
        return False
    group, element, length = struct.unpack_from("<HHI", head)
    fits = length == 4 if element == GROUP_LENGTH else length <= LENGTH and length % 2 == 0
    return group in GROUPS and element <= FIRST and (fits or head[4:6] in KINDS)
