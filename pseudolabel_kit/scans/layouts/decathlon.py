"""The Medical Segmentation Decathlon's folders, and nnU-Net's, which number their channels.

`dataset.json` beside `imagesTr`, `labelsTr` and perhaps `imagesTs`. In nnU-Net's,
`case_0000.nii.gz` is the first channel of `case`, whose mask is `labelsTr/case.nii.gz`.
"""

from __future__ import annotations

import re
from pathlib import Path

from pseudolabel_kit.scans.scan import Scan
from pseudolabel_kit.scans.study import Found, Skipped, safe_name
from pseudolabel_kit.scans.tree import Source
from pseudolabel_kit.scans.volumes import SUFFIXES, stem

CHANNEL = re.compile(r"_(\d{4})$")


def recognise(source: Source) -> bool:
    """Whether the source is such a folder."""
    return source.folder / "dataset.json" in source.files and bool(_volumes(source, "imagesTr"))


def find(source: Source) -> Found:
    """A study for every image; those of `imagesTs` have no mask."""
    masks = {stem(path): path for path in _volumes(source, "labelsTr")}
    images = _volumes(source, "imagesTr") + _volumes(source, "imagesTs")
    numbered = bool(images) and all(CHANNEL.search(stem(path)) for path in images)
    studies = []
    skipped = []
    for path in images:
        case = CHANNEL.sub("", stem(path)) if numbered else stem(path)
        if numbered and not stem(path).endswith("_0000"):
            told = source.said(path)
            skipped.append(Skipped(told, f"{told}: is another channel; expected _0000 alone"))
            continue
        drawn = masks.pop(case, None) if path.parent.name == "imagesTr" else None
        studies.append(
            Scan(
                name=safe_name(case),
                patient=safe_name(case),
                folder=source.top(path),
                source=source.folder,
                image=path,
                masks=(drawn,) if drawn else (),
            )
        )
    for path in masks.values():
        told = source.said(path)
        skipped.append(Skipped(told, f"{told}: is the mask of no image in imagesTr"))
    return studies, [*source.skipped, *skipped]


def _volumes(source: Source, folder: str) -> list[Path]:
    inside = source.folder / folder
    return [p for p in source.files if p.parent == inside and p.name.lower().endswith(SUFFIXES)]
