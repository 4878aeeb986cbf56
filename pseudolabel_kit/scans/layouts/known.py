"""The layouts by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.choices import LabelFrom, LayoutName
from pseudolabel_kit.scans.layouts import classes, coco, decathlon, dicom, pictures, volumes
from pseudolabel_kit.scans.study import Found
from pseudolabel_kit.scans.tree import Source


class Layout(NamedTuple):
    """How a source folder is read.

    Attributes:
        recognise: whether a folder is of this layout.
        find: its studies, and what of it is left out.
        label_from: where classes come from if nobody says.
    """

    recognise: Callable[[Source], bool]
    find: Callable[[Source], Found]
    label_from: LabelFrom = LabelFrom.LESION


LAYOUTS = {
    LayoutName.DECATHLON: Layout(decathlon.recognise, decathlon.find),
    LayoutName.DICOM: Layout(dicom.recognise, dicom.find),
    LayoutName.VOLUMES: Layout(volumes.recognise, volumes.find),
    LayoutName.COCO: Layout(coco.recognise, coco.find),
    LayoutName.PICTURES: Layout(pictures.recognise, pictures.find),
    LayoutName.CLASSES: Layout(classes.recognise, classes.find, LabelFrom.FOLDER),
}


def recognised(source: Source) -> LayoutName:
    """The first layout that the source is of.

    Raises:
        DataError: it is of none.
    """
    for name in LayoutName:
        if LAYOUTS[name].recognise(source):
            return name
    known = ", ".join(LayoutName)
    raise DataError(f"{source.folder}: holds nothing that is recognised; expected one of {known}")
