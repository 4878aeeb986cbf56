"""Scans for a trained run: found where a command line names them, and read as in training."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from pseudolabel_kit.errors import DataError, RunError
from pseudolabel_kit.scans.choices import LayoutName
from pseudolabel_kit.scans.geometry import Triple
from pseudolabel_kit.scans.layouts import dicom
from pseudolabel_kit.scans.layouts.known import LAYOUTS
from pseudolabel_kit.scans.scan import Scan
from pseudolabel_kit.scans.study import Found, Settings, Skipped, Study, safe_name
from pseudolabel_kit.scans.tree import SALT, Source, look_into
from pseudolabel_kit.scans.volumes import SUFFIXES, stem
from pseudolabel_kit.scans.window import WINDOWS, Window

KINDS = (LayoutName.DICOM, LayoutName.DECATHLON, LayoutName.VOLUMES)  # of folders of scans
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

    A folder with a scan in it is one of scans; masks that lie beside volumes come with them.
    DICOM files that are named one by one are put together by series.

    Args:
        skip: where outputs go: what lies in it is left out. The salt of pseudonyms is kept there.

    Raises:
        DataError: a path is missing, or a folder cannot be read.
    """
    studies: list[tuple[Path, Study]] = []
    skipped: list[Skipped] = []
    named: list[Path] = []
    pictures: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: there is no such file or folder")
        if path.is_dir():
            found, left = _in_folder(path, skip)
            studies += [(path, study) for study in found]
            skipped += left
            if not found and not left:
                pictures.append(path)
        elif path.name.lower().endswith(SUFFIXES):
            studies.append((path.absolute().parent, _volume(path)))
        else:
            (named if dicom.is_dicom(path) else pictures).append(path)
    found, left = _named_slices(named, skip)
    studies += [(study.files[0].parent, study) for study in found]
    twins: list[Skipped] = []
    return Inputs(list(_distinct(studies, twins)), [*skipped, *left, *twins], pictures)


def settings_for(
    imported: Mapping[str, Any] | None,
    *,
    window: Window | None = None,
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


def _in_folder(folder: Path, skip: Path) -> Found:
    """The scans in a folder, and what is none; nothing at all where it holds no scan."""
    source = look_into(folder, skip / SALT)
    outputs = skip.resolve()
    kept = tuple(path for path in source.files if outputs not in path.resolve().parents)
    source = replace(source, files=kept)
    for kind in KINDS:
        if LAYOUTS[kind].recognise(source):
            return LAYOUTS[kind].find(source)
    return [], []


def _volume(path: Path) -> Scan:
    name = safe_name(stem(path))
    return Scan(name=name, patient=name, source=path.parent, image=path)


def _named_slices(paths: Sequence[Path], skip: Path) -> Found:
    if not paths:
        return [], []
    files = tuple(Path(os.path.abspath(path)) for path in paths)
    folder = Path(os.path.commonpath([path.parent for path in files]))
    return dicom.find(Source(folder=folder, files=files, skipped=(), salt_file=skip / SALT))


def _distinct(studies: Sequence[tuple[Path, Study]], twins: list[Skipped]) -> Iterator[Study]:
    """Each study once, by a name of its own; of those of one name, the folder tells them apart."""
    taken: dict[str, Study] = {}
    for folder, study in studies:
        first = taken.get(study.name.lower())
        if first is None:
            chosen = study
        elif _files(first) == _files(study):
            continue
        else:
            chosen = replace(study, name=safe_name(f"{folder.name}-{study.name}"))
        if taken.setdefault(chosen.name.lower(), chosen) is chosen:
            yield chosen
        else:
            twins.append(Skipped(chosen.name, f"{chosen.name}: two studies are called so"))


def _files(study: Study) -> set[Path]:
    return {path.resolve() for path in study.files}
