"""Folders of pictures with folders of masks: `images/x.png` and `masks/x.png`; see `roles`."""

from __future__ import annotations

from pseudolabel_kit.scans.layouts.roles import belonging, role_of
from pseudolabel_kit.scans.picture import SUFFIXES, Picture
from pseudolabel_kit.scans.study import Found
from pseudolabel_kit.scans.tree import Source


def recognise(source: Source) -> bool:
    """Whether a folder of the source holds pictures that are masks by its name."""
    parents = {path.parent for path in source.files if path.name.lower().endswith(SUFFIXES)}
    return any(role_of(parent.name) in ("mask", "region") for parent in parents)


def find(source: Source) -> Found:
    """A study for every picture; nobody knows whom it is of."""
    together, skipped = belonging(source, SUFFIXES)
    studies = [
        Picture(
            name=each.name,
            patient="",
            folder=source.top(each.image),
            source=source.folder,
            image=each.image,
            mask=each.mask,
            region=each.region,
        )
        for each in together
    ]
    return studies, skipped
