"""Volumes with masks side by side, as COVID-19-CT-Seg has them: see `roles`."""

from __future__ import annotations

from pseudolabel_kit.scans.layouts.roles import side_by_side
from pseudolabel_kit.scans.scan import Scan
from pseudolabel_kit.scans.study import Found
from pseudolabel_kit.scans.tree import Source
from pseudolabel_kit.scans.volumes import SUFFIXES


def recognise(source: Source) -> bool:
    """Whether the source holds volumes."""
    return any(path.name.lower().endswith(SUFFIXES) for path in source.files)


def find(source: Source) -> Found:
    """A study for every image, of the patient that its name tells."""
    return side_by_side(source, SUFFIXES, Scan, of_patients=True)
