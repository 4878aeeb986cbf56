"""The layouts by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.choices import LabelFrom, LayoutName
from pseudolabel_kit.scans.layouts import classes, coco, decathlon, dicom, pictures, volumes
from pseudolabel_kit.scans.study import Found, Skipped
from pseudolabel_kit.scans.tree import Source
from pseudolabel_kit.scans.volumes import SUFFIXES


class Layout(NamedTuple):
    """How a source folder is read.

    Attributes:
        recognise: whether a folder is of this layout.
        find: its studies, and what of it is left out.
        label_from: where classes come from if nobody says.
        useless: options of `plk data import` that mean nothing here.
    """

    recognise: Callable[[Source], bool]
    find: Callable[[Source], Found]
    label_from: LabelFrom = LabelFrom.LESION
    useless: tuple[str, ...] = ()


NO_HU = ("--window", "--spacing")  # pictures have no HU and no mm

LAYOUTS = {
    LayoutName.DECATHLON: Layout(decathlon.recognise, decathlon.find),
    LayoutName.DICOM: Layout(dicom.recognise, dicom.find),
    LayoutName.VOLUMES: Layout(volumes.recognise, volumes.find),
    LayoutName.COCO: Layout(coco.recognise, coco.find, useless=NO_HU),
    LayoutName.PICTURES: Layout(pictures.recognise, pictures.find, useless=(*NO_HU, "--lesion")),
    LayoutName.CLASSES: Layout(
        classes.recognise, classes.find, LabelFrom.FOLDER, (*NO_HU, "--lesion")
    ),
}


def recognised(source: Source) -> LayoutName:
    """The first layout that the source is of; DICOM's last where files are called so alone.

    Raises:
        DataError: it is of none.
    """
    for name in LayoutName:
        if LAYOUTS[name].recognise(source):
            return name
    if any(map(dicom.claims, source.files)):
        return LayoutName.DICOM  # which tells that they are damaged
    known = ", ".join(LayoutName)
    raise DataError(f"{source.folder}: holds nothing that is recognised; expected one of {known}")


def left_out(source: Source, layout: LayoutName, *, remedy: str = "") -> list[Skipped]:
    """Scans of another kind that lie in a source which was recognised as of this layout.

    Args:
        remedy: how they are taken all the same; by default, with `plk data import`.
    """
    if layout is LayoutName.DICOM:
        other = LayoutName.VOLUMES
        count = sum(path.name.lower().endswith(SUFFIXES) for path in source.files)
    else:
        other = LayoutName.DICOM
        count = sum(map(dicom.claims, source.files))
    remedy = remedy or f"take them with --layout {other} and another --out"
    told = f"{count} files of {other} are left out; {remedy}"
    return [Skipped(other, told)] if count else []
