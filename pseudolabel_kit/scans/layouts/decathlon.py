"""The Medical Segmentation Decathlon's folders, and nnU-Net's, which number their channels.

`imagesTr` and `labelsTr`, perhaps `imagesTs` and `labelsTs`, and `dataset.json`, which tells the
modality. In nnU-Net's, `case_0000.nii.gz` is the first channel of `case`, whose mask is
`labelsTr/case.nii.gz`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.scan import Scan
from pseudolabel_kit.scans.study import Found, Skipped, safe_name
from pseudolabel_kit.scans.tree import Source
from pseudolabel_kit.scans.volumes import SUFFIXES, stem

DESCRIBED = "dataset.json"
CHANNEL = re.compile(r"_(\d{4})$")


def recognise(source: Source) -> bool:
    """Whether the source is such a folder."""
    known = source.folder / DESCRIBED in source.files or _volumes(source, "labelsTr")
    return bool(known and _volumes(source, "imagesTr"))


def find(source: Source) -> Found:
    """A study for every image; those of `imagesTs` have a mask at most in `labelsTs`."""
    modality = _modality(source)
    images = _volumes(source, "imagesTr") + _volumes(source, "imagesTs")
    numbered = bool(images) and all(CHANNEL.search(stem(path)) for path in images)
    masks = {
        (path.parent.name.replace("labels", "images"), stem(path)): path
        for path in _volumes(source, "labelsTr") + _volumes(source, "labelsTs")
    }
    studies = []
    skipped = []
    for path in images:
        case = CHANNEL.sub("", stem(path)) if numbered else stem(path)
        if numbered and not stem(path).endswith("_0000"):
            told = source.said(path)
            skipped.append(Skipped(told, f"{told}: is another channel; expected _0000 alone"))
            continue
        mask = masks.pop((path.parent.name, case), None)
        studies.append(
            Scan(
                name=safe_name(case),
                patient=safe_name(case),
                folder=source.top(path),
                source=source.folder,
                image=path,
                masks=(mask,) if mask else (),
                modality=modality,
            )
        )
    for (folder, _), path in masks.items():
        told = source.said(path)
        skipped.append(Skipped(told, f"{told}: is the mask of no image in {folder}"))
    return studies, [*source.skipped, *skipped]


def _modality(source: Source) -> str:
    """The modality of the first channel, where the folder tells it; else CT."""
    file = source.folder / DESCRIBED
    if file not in source.files:
        return "CT"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        channels = content.get("channel_names") or content.get("modality") or {}
        return str(channels.get("0", "CT"))
    except (OSError, ValueError, RecursionError, AttributeError):
        raise DataError(
            f"{file}: is no JSON table of a dataset; mend it, or move it away"
        ) from None


def _volumes(source: Source, folder: str) -> list[Path]:
    inside = source.folder / folder
    return [p for p in source.files if p.parent == inside and p.name.lower().endswith(SUFFIXES)]
