"""Folders of classes: `covid/x.png`, `healthy/y.png`, also below `train` and `test`."""

from __future__ import annotations

from pathlib import Path

from pseudolabel_kit.scans.picture import SUFFIXES, Picture
from pseudolabel_kit.scans.study import Found, safe_name
from pseudolabel_kit.scans.tree import Source

SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}


def recognise(source: Source) -> bool:
    """Whether the source holds pictures, each in a folder."""
    pictures = _pictures(source)
    return bool(pictures) and all(_class(source, path) for path in pictures)


def find(source: Source) -> Found:
    """A study for every picture; nobody knows whom it is of."""
    studies = [
        Picture(
            name=safe_name(source.said(path.with_suffix(""))),
            patient="",
            folder=_class(source, path),
            source=source.folder,
            image=path,
        )
        for path in _pictures(source)
    ]
    return studies, source.skipped


def _pictures(source: Source) -> list[Path]:
    return [path for path in source.files if path.name.lower().endswith(SUFFIXES)]


def _class(source: Source, path: Path) -> str:
    *folders, _ = path.relative_to(source.folder).parts
    return next((folder for folder in folders if folder.lower() not in SPLITS), "")
