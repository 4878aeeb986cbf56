"""A whole source folder into a dataset folder: studies in parallel, each whole or absent."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from pseudolabel_kit.data import imported as record
from pseudolabel_kit.errors import ConfigError, DataError, RunError
from pseudolabel_kit.files import LOCK, claimed, write_text, written_aside
from pseudolabel_kit.scans.choices import LayoutName
from pseudolabel_kit.scans.convert import (
    ASIDE,
    COLUMNS,
    FOLDERS,
    STUDIES,
    convert,
    done,
    is_done,
)
from pseudolabel_kit.scans.layouts.known import LAYOUTS, left_out, recognised
from pseudolabel_kit.scans.side_by_side import side_by_side
from pseudolabel_kit.scans.study import Settings, Skipped, Study
from pseudolabel_kit.scans.tree import SALT, Source, look_into

MANIFEST = "manifest.csv"
OURS = frozenset({MANIFEST, record.FILE, SALT, LOCK, ASIDE, STUDIES, *FOLDERS.values()})
FILLED_IN = ("split", "patient", "label")


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import did.

    Attributes:
        layout: the one that the source was read as.
        studies: in the manifest.
        kept: of these, done by an import before.
        rows: of the manifest.
        thin: how many of them show a lesion thinner than a pixel, which is kept as one.
        skipped: what was left out, and why.
    """

    layout: LayoutName
    studies: int
    kept: int
    rows: Sequence[dict[str, str]]
    thin: int
    skipped: Sequence[Skipped]


def import_scans(
    source: Path,
    out: Path,
    settings: Settings,
    *,
    layout: LayoutName | None = None,
    chosen: Sequence[str] = (),
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Imported:
    """Convert every study of a folder; those that are done already are kept.

    So is what was filled into the manifest: splits, patients and labels that are not known, and
    columns of one's own.

    Args:
        source: see `pseudolabel_kit.scans.layouts`.
        out: the dataset folder, new or of an import that is to go on.
        layout: None to recognise it, and to name scans of another kind that are left out.
        chosen: options that somebody chose, as "--window".
        jobs: processes.
        progress: told (studies done, studies in all).

    Raises:
        ConfigError: an option was chosen that means nothing for this layout.
        DataError: the source holds no study that can be used, or `out` something else.
        RunError: `out` cannot be written, or another process imports into it.
    """
    _refuse_foreign(source, out)
    found = look_into(source, out / SALT)
    left = []
    if layout is None:
        layout = recognised(found)
        left = left_out(found, layout)
    if useless := [option for option in chosen if option in LAYOUTS[layout].useless]:
        raise ConfigError(f"{useless[0]}: means nothing for the layout {layout}; leave it out")
    settings = replace(settings, label_from=settings.label_from or LAYOUTS[layout].label_from)
    with claimed(out, "another process is importing into it"):
        imported = _import(found, out, settings, layout, jobs, progress)
    return replace(imported, skipped=[*left, *imported.skipped])


def cores() -> int:
    """How many this process may use, where the system says so."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _import(
    found: Source,
    out: Path,
    settings: Settings,
    layout: LayoutName,
    jobs: int,
    progress: Callable[[int, int], None],
) -> Imported:
    studies, skipped = _studies(found, layout, out)
    waiting = [study for study in studies if not is_done(study, settings, out)]
    kept = len(studies) - len(waiting)
    broken = list[Skipped]()
    work = partial(convert, settings=settings, out=out)
    results = side_by_side(work, waiting, jobs=jobs, doing="converts")
    for number, result in enumerate(results, start=kept + 1):
        broken += [result] if result else []
        progress(number, len(studies))
    skipped += broken
    names = {each.name for each in broken}
    good = [study for study in studies if study.name not in names]
    if not good:
        raise DataError(f"{found.folder}: {_nothing(skipped, layout)}")
    filled, added = _filled_in(out / MANIFEST)
    finished = [done(study, out) for study in good]
    rows = [_carried(row, filled, added, out) for each in finished for row in each.rows]
    noted = {"layout": layout, **asdict(settings)}
    write_text(out / record.FILE, json.dumps(noted, indent=1) + "\n")
    _write_manifest(out, rows, added)
    shutil.rmtree(out / ASIDE, ignore_errors=True)
    return Imported(
        layout=layout,
        studies=len(good),
        kept=kept,
        rows=rows,
        thin=sum(each.thin for each in finished),
        skipped=skipped,
    )


def _nothing(skipped: Sequence[Skipped], layout: LayoutName) -> str:
    """Why there is no study."""
    if not skipped:
        return f"holds no study of the layout {layout}"
    return f"none of {len(skipped)} studies can be used; the first: {skipped[0].reason}"


def _studies(source: Source, layout: LayoutName, out: Path) -> tuple[list[Study], list[Skipped]]:
    """The studies, whose names differ also where a file system tells no case, and what is none.

    Raises:
        DataError: `out` holds another study.
    """
    found, skipped = LAYOUTS[layout].find(source)
    first: dict[str, Study] = {}
    twins = [
        Skipped(study.name, f"{study.name}: two studies are called so")
        for study in found
        if first.setdefault(study.name.lower(), study) is not study
    ]
    names = {study.name for study in first.values()}
    for path in sorted((out / STUDIES).glob("*.json")):
        if path.stem not in names:
            raise DataError(
                f"{out}: holds the study {path.stem}, which the source does not; use another --out"
            )
    return list(first.values()), [*skipped, *twins]


def _refuse_foreign(source: Path, out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: is a file; expected a folder for --out")
    if out.resolve().is_relative_to(source.resolve()):
        raise DataError(f"{out}: lies in the source {source}; expected another folder for --out")
    if source.resolve().is_relative_to(out.resolve()):
        raise DataError(f"{source}: lies in {out}; expected another folder for --out")
    if out.is_dir() and (foreign := _foreign(out)):
        raise RunError(f"{out}: holds {foreign[0]}; expected a new folder, or one of an import")


def _foreign(out: Path) -> list[str]:
    """What an import leaves alone; all that is there, where none has begun."""
    there = [name for name in sorted(os.listdir(out)) if name != LOCK and not _is_part(name)]
    if (out / STUDIES).is_dir() or ASIDE in there or SALT in there:
        return [name for name in there if name not in OURS and not name.endswith((".csv", ".html"))]
    return there


def _is_part(name: str) -> bool:
    """Whether a process that was killed left it behind."""
    return name.startswith(".") and name.endswith(".part")


def _filled_in(manifest: Path) -> tuple[dict[str, dict[str, str]], list[str]]:
    """The cells of a manifest by image, and the columns that it has beyond an import's.

    Raises:
        DataError: it cannot be read, so that they would be lost.
    """
    mend = "mend it, or move it away, and import again"
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = [name.strip() for name in next(rows, [])]
            cells = [dict(zip(header, map(str.strip, row), strict=False)) for row in rows]
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        raise DataError(f"{manifest}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error):
        raise DataError(f"{manifest}: is not CSV in UTF-8; {mend}") from None
    if "image" not in header:
        raise DataError(f"{manifest}: has no column 'image'; {mend}")
    added = [name for name in dict.fromkeys(header) if name and name not in COLUMNS]
    return {os.path.normpath(row["image"]): row for row in cells if row.get("image")}, added


def _carried(
    row: dict[str, str], filled: dict[str, dict[str, str]], added: Sequence[str], out: Path
) -> dict[str, str]:
    """A row with what was filled in where the import, which knows no splits, knows nothing.

    A region that was found since is one of these, as long as its picture is there.
    """
    before = filled.get(os.path.normpath(row["image"]), {})
    found = before.get("region", "") and (out / before["region"]).is_file()
    columns = (*FILLED_IN, *(("region",) if found else ()), *added)
    return row | {column: row.get(column) or before.get(column, "") for column in columns}


def _write_manifest(out: Path, rows: Sequence[dict[str, str]], added: Sequence[str]) -> None:
    with (
        written_aside(out / MANIFEST) as aside,
        aside.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, [*COLUMNS, *added])
        writer.writeheader()
        writer.writerows(rows)
