"""What the command line lets choose, apart from the libraries that do it."""

from __future__ import annotations

from enum import StrEnum


class LayoutName(StrEnum):
    """A layout of a source folder, in the order in which they are looked for."""

    DECATHLON = "decathlon"
    DICOM = "dicom"
    VOLUMES = "volumes"
    COCO = "coco"
    PICTURES = "pictures"
    CLASSES = "classes"


PICTURES = (LayoutName.COCO, LayoutName.PICTURES, LayoutName.CLASSES)  # without HU and mm


class LabelFrom(StrEnum):
    """Where the class of a slice is known from."""

    LESION = "lesion"
    FOLDER = "folder"
    NONE = "none"


class Bits(StrEnum):
    """Of a grey value."""

    EIGHT = "8"
    SIXTEEN = "16"
