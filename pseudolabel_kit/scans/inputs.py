"""Scans for a trained run: found where a command line names them, and read as in training."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from pseudolabel_kit.errors import DataError, RunError
from pseudolabel_kit.scans import picture
from pseudolabel_kit.scans.choices import LayoutName
from pseudolabel_kit.scans.geometry import Triple
from pseudolabel_kit.scans.layouts import dicom
from pseudolabel_kit.scans.layouts.known import LAYOUTS, left_out
from pseudolabel_kit.scans.scan import Scan
from pseudolabel_kit.scans.study import Found, Settings, Skipped, Study, safe_name
from pseudolabel_kit.scans.tree import SALT, Source, look_into
from pseudolabel_kit.scans.volumes import SUFFIXES, stem
from pseudolabel_kit.scans.window import WINDOWS, Wanted

KINDS = (LayoutName.DICOM, LayoutName.DECATHLON, LayoutName.VOLUMES)  # of folders of scans
PICTURES = (*picture.SUFFIXES, ".npy")  # that a run answers
DEFAULTS = Settings(spacing=(1, 1, 1), size=224, window=WINDOWS["lung"], bits=8, lesion=())


class Inputs(NamedTuple):
    """What paths hold.

    Attributes:
        studies: volumes and series, by names that differ also where no case is told.
        skipped: what lies among them and is none.
        pictures: the paths that hold no scan; see `engine.images.find_images`.
    """

    studies: Sequence[Study]
    skipped: Sequence[Skipped]
    pictures: Sequence[Path]


def find_studies(paths: Sequence[Path], *, skip: Path) -> Inputs:
    """The scans in files and folders: volumes (NIfTI, NRRD, MHA) and DICOM series.

    A folder with a scan in it is one of scans; masks that lie beside volumes come with them. In
    any other folder, what is called DICOM and is none is told beside the pictures.
    DICOM files are put together by series, whichever of the paths they lie in.

    Args:
        skip: where outputs go: what lies in it is left out. The salt of pseudonyms is kept there.

    Raises:
        DataError: a path is missing or cannot be read.
    """
    studies: list[tuple[Path, Study]] = []
    skipped: list[Skipped] = []
    trees: list[Source] = []  # of DICOM
    slices: list[Path] = []
    pictures: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: there is no such file or folder")
        if not os.access(path, os.R_OK):
            raise DataError(f"{path}: cannot be read; expected permission")
        if path.is_dir():
            source = _source(path, skip)
            kind = next((kind for kind in KINDS if LAYOUTS[kind].recognise(source)), None)
            if kind is None:
                called = [file for file in source.files if dicom.claims(file)]
                slices += called
                if not called or _count(source, PICTURES):
                    pictures.append(path)
                continue
            skipped += _of_another_kind(source, kind)
            if kind is LayoutName.DICOM:
                trees.append(source)
            else:
                found, left = LAYOUTS[kind].find(source)
                studies += [(path, study) for study in found]
                skipped += left
        elif path.name.lower().endswith(SUFFIXES):
            studies.append((path.absolute().parent, _volume(path)))
        else:
            (slices if dicom.claims(path) else pictures).append(path)
    series, left = _series(trees, slices, skip)
    chosen, twins = _distinct(series, studies)
    return Inputs(chosen, [*skipped, *left, *twins], pictures)


def settings_for(
    imported: Mapping[str, Any] | None,
    *,
    window: Wanted | None = None,
    spacing: Triple | None = None,
) -> Settings:
    """How scans become slices for a run: as its dataset was imported.

    Args:
        imported: `Predictor.imported`; where there is nothing, it is warned of, and the defaults
            of `plk data import` are taken.
        window: instead of that of the import; likewise `spacing`, mm (x, y, z).

    Raises:
        RunError: what is noted are no such settings.
    """
    settings = replace(
        DEFAULTS if imported is None else _noted(imported),
        label_from=None,  # nobody knows the class of a new scan
    )
    if imported is None and (window is None or spacing is None):
        warnings.warn(
            "the run's data were not made by plk data import, so what is not said of scans is as "
            "by its defaults: --window lung, --spacing 1",
            stacklevel=2,
        )
    return replace(settings, window=window or settings.window, spacing=spacing or settings.spacing)


def _noted(imported: Mapping[str, Any]) -> Settings:
    try:
        return TypeAdapter(Settings).validate_python(imported)
    except ValidationError:
        raise RunError(
            "provenance.json: its import settings cannot be read; expected what plk data import "
            "noted"
        ) from None


def _source(folder: Path, skip: Path) -> Source:
    """A folder without the outputs in it."""
    source = look_into(folder, skip / SALT)
    outputs = skip.resolve()
    kept = tuple(path for path in source.files if outputs not in path.resolve().parents)
    return replace(source, files=kept)


def _of_another_kind(source: Source, kind: LayoutName) -> list[Skipped]:
    """What is not read of a folder of scans of one kind."""
    scans = left_out(source, kind, remedy="name them one by one")
    count = _count(source, picture.SUFFIXES)
    told = f"{count} pictures among scans are left out; name them one by one"
    return [*scans, *([Skipped("pictures", told)] if count else [])]


def _count(source: Source, suffixes: tuple[str, ...]) -> int:
    return sum(path.name.lower().endswith(suffixes) for path in source.files)


def _volume(path: Path) -> Scan:
    name = safe_name(stem(path))
    return Scan(name=name, patient=name, source=path.parent, image=path)


def _series(trees: Sequence[Source], named: Sequence[Path], skip: Path) -> Found:
    """The series in folders and files together: a slice may lie in any of them."""
    every = [*named, *(path for tree in trees for path in tree.files)]
    if not every:
        return [], []
    real = {path.resolve(): Path(os.path.abspath(path)) for path in reversed(every)}
    files = tuple(reversed(real.values()))
    folder = Path(os.path.commonpath([path.parent for path in files]))
    links = tuple(link for tree in trees for link in tree.skipped)
    return dicom.find(Source(folder=folder, files=files, skipped=links, salt_file=skip / SALT))


def _distinct(
    series: Sequence[Study], volumes: Sequence[tuple[Path, Study]]
) -> tuple[list[Study], list[Skipped]]:
    """Each study once, by a name of its own.

    Of volumes of one name, the folder tells them apart; a series has its pseudonym alone, since
    folders of DICOM are often called after patients.
    """
    taken: dict[str, Study] = {study.name.lower(): study for study in series}
    twins: list[Skipped] = []
    for folder, study in volumes:
        first = taken.setdefault(study.name.lower(), study)
        if _files(first) == _files(study):
            continue
        chosen = replace(study, name=safe_name(f"{folder.name}-{study.name}"))
        if _files(taken.setdefault(chosen.name.lower(), chosen)) != _files(study):
            twins.append(Skipped(chosen.name, f"{chosen.name}: two studies are called so"))
    return list(taken.values()), twins


def _files(study: Study) -> set[Path]:
    return {path.resolve() for path in study.files}
