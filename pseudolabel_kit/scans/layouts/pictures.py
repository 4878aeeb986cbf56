"""Folders of pictures with folders of masks: `images/x.png` and `masks/x.png`; see `roles`."""

from __future__ import annotations

from pseudolabel_kit.scans.layouts.roles import side_by_side
from pseudolabel_kit.scans.picture import SUFFIXES, Picture
from pseudolabel_kit.scans.study import FileStudy, Found
from pseudolabel_kit.scans.tree import Source


def recognise(source: Source) -> bool:
    """Whether the source holds pictures with a mask of the same name."""
    studies, _ = find(source)
    return any(s.masks or s.region for s in studies if isinstance(s, FileStudy))


def find(source: Source) -> Found:
    """A study for every picture; nobody knows whom it is of."""
    return side_by_side(source, SUFFIXES, Picture, of_patients=False)
