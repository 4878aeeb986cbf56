"""Folders of pictures with folders of masks: `images/x.png` and `masks/x.png`; see `roles`."""

from __future__ import annotations

from pseudolabel_kit.scans.layouts.roles import belonging
from pseudolabel_kit.scans.picture import SUFFIXES, Picture
from pseudolabel_kit.scans.study import Found
from pseudolabel_kit.scans.tree import Source


def recognise(source: Source) -> bool:
    """Whether the source holds pictures with a mask of the same name."""
    together, _ = belonging(source, SUFFIXES)
    return any(each.mask or each.region for each in together)


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
    return studies, [*source.skipped, *skipped]
