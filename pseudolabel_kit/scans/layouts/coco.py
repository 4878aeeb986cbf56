"""COCO: JSON files that outline lesions in pictures."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.outlines import rasterise
from pseudolabel_kit.scans.picture import SUFFIXES, Picture
from pseudolabel_kit.scans.study import Found, Settings, Skipped, Slices, safe_name
from pseudolabel_kit.scans.tree import Source


@dataclass(frozen=True, kw_only=True)
class Outlined(Picture):
    """A picture whose lesions are outlined in a JSON file.

    Attributes:
        annotations: that file.
        outlines: `segmentation` of each annotation; none where the picture shows no lesion.
        categories: `category_id` of each annotation.
    """

    annotations: Path
    outlines: tuple[Any, ...]
    categories: tuple[Any, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Image and JSON file."""
        return self.image, self.annotations

    def slices(self, settings: Settings) -> Slices:
        """As of any picture; the values that are lesion are categories."""
        both = list(zip(self.outlines, self.categories, strict=True))
        kept = [pair for pair in both if not settings.lesion or pair[1] in settings.lesion]
        outlines, categories = (tuple(pair[i] for pair in kept) for i in (0, 1))
        return Picture.slices(replace(self, outlines=outlines, categories=categories), settings)

    def lesions(self, size: tuple[int, ...]) -> NDArray[np.bool_]:
        """Every outline's pixels (H,W)."""
        mask = np.zeros(size, dtype=np.bool_)
        for outline in self.outlines:
            try:
                mask |= rasterise(outline, (size[0], size[1]))
            except (ValueError, TypeError) as error:
                raise DataError(f"{self.said(self.annotations)}: {self.name}: {error}") from None
        return mask


def recognise(source: Source) -> bool:
    """Whether the source holds pictures and a JSON file that outlines what they show."""
    return bool(_files(source))


def find(source: Source) -> Found:
    """A study for every picture that a JSON file lists; nobody knows whom it is of."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in source.files:
        if path.name.lower().endswith(SUFFIXES):
            by_name[path.name].append(path)
    studies: list[Outlined] = []
    skipped = list(source.skipped)
    for file, content in _files(source).items():
        of_image: dict[Any, list[Any]] = defaultdict(list)
        for annotation in content["annotations"]:
            of_image[annotation["image_id"]].append(annotation)
        for image in content["images"]:
            named = Path(str(image.get("file_name")))
            found = [p for p in by_name[named.name] if p.parts[-len(named.parts) :] == named.parts]
            if len(found) != 1:
                several = "several files" if found else "no file"
                told = f"{source.said(file)}: {several} of the name {named}; expected one"
                skipped.append(Skipped(str(named), told))
                continue
            studies.append(
                Outlined(
                    name=safe_name(source.said(found[0].with_suffix(""))),
                    patient="",
                    folder=source.top(found[0]),
                    source=source.folder,
                    image=found[0],
                    annotations=file,
                    outlines=tuple(each.get("segmentation") for each in of_image[image["id"]]),
                    categories=tuple(each.get("category_id") for each in of_image[image["id"]]),
                )
            )
    return studies, skipped


def _files(source: Source) -> dict[Path, Mapping[str, Any]]:
    """The JSON files that list pictures and what is in them."""
    read = {path: _read(path) for path in source.files if path.suffix.lower() == ".json"}
    return {path: content for path, content in read.items() if content is not None}


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    sound = _identified(content.get("images"), "id")
    return content if sound and _identified(content.get("annotations"), "image_id") else None


def _identified(entries: Any, key: str) -> bool:
    """Whether this is a list of tables with a number or a text under that key."""
    return isinstance(entries, list) and all(
        isinstance(entry, dict) and isinstance(entry.get(key), int | str) for entry in entries
    )
