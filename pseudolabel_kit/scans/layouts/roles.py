"""What files are to each other, told by their names: image, lesion mask or lung mask.

What a file is, its folder's name says, or else its own: `Infection_Mask/case1.nii.gz`,
`case1/lung_mask.nii.gz` and `case1_ct.nii.gz` are told apart by their words; a file that calls
itself a mask is one also in a folder of images. Files belong together when what is left of their
paths, without those words, is the same.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Literal, NamedTuple

from pseudolabel_kit.scans.study import Skipped, safe_name
from pseudolabel_kit.scans.tree import Source
from pseudolabel_kit.scans.volumes import stem

Role = Literal["image", "mask", "region", "both"]

IMAGE = {"ct", "image", "images", "img", "imgs", "scan", "scans", "volume", "volumes"}
LUNG = {"lung", "lungs"}
LESION = {"infection", "infections", "lesion", "lesions", "tumor", "tumour"}
MASK = {"mask", "masks", "label", "labels", "annotation", "annotations"}
SEGMENTATION = {"seg", "segmentation", "segmentations"}
ROLES = IMAGE | LUNG | LESION | MASK | SEGMENTATION | {"and"}
WORD = re.compile(r"[^\W_]+")


class Belonging(NamedTuple):
    """Files of one study.

    Attributes:
        name: what is common to their paths.
    """

    name: str
    image: Path
    mask: Path | None
    region: Path | None


def belonging(source: Source, suffixes: tuple[str, ...]) -> tuple[list[Belonging], list[Skipped]]:
    """Files by study; a mask without an image is left out by name."""
    groups: dict[str, dict[Role, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in source.files:
        if path.name.lower().endswith(suffixes):
            key, role = _key(source, path)
            groups[key][role].append(path)
    together: list[Belonging] = []
    skipped: list[Skipped] = []
    for key, group in sorted(groups.items()):
        image, mask, region = (next(iter(group[r]), None) for r in ("image", "mask", "region"))
        if problem := _problem(source, group):
            skipped.append(Skipped(key, problem))
        elif image is not None:
            together.append(Belonging(key, image, mask, region))
    return together, skipped


def role_of(name: str) -> Role | None:
    """What a name says of the file, or of the files in the folder.

    >>> role_of("Lung_Mask"), role_of("COVID-19-CT-Seg_20cases"), role_of("coronacases_001")
    ('region', 'image', None)
    """
    words = _words(name)
    explicit = words & (MASK | SEGMENTATION) or not words & IMAGE
    if words & LESION:
        return "both" if words & LUNG else "mask"
    if words & LUNG and explicit:
        return "region"
    if words & MASK:
        return "mask"
    if words & IMAGE:
        return "image"
    return "mask" if words & SEGMENTATION else None


def _key(source: Source, path: Path) -> tuple[str, Role]:
    """What files of one study share, and the role of this one."""
    *folders, _ = path.relative_to(source.folder).parts
    roles = [role_of(folder) for folder in folders]
    left = [folder for folder, role in zip(folders, roles, strict=True) if role is None]
    role = next((role for role in reversed(roles) if role), None)
    own = role_of(stem(path))
    if role is None or (role == "image" and _words(stem(path)) & (MASK | SEGMENTATION)):
        role = own
    return safe_name("-".join(filter(None, [*left, _bare(stem(path))]))), role or "image"


def _bare(name: str) -> str:
    """A name without the words that tell roles.

    >>> _bare("Case_1_lung_mask"), _bare("Case_1"), _bare("ct-7")
    ('Case_1', 'Case_1', '7')
    """
    left = WORD.sub(lambda word: "" if word[0].lower() in ROLES else word[0], name)
    return re.sub(r"([\W_])[\W_]+", r"\1", left).strip(" _-.")


def _problem(source: Source, group: dict[Role, list[Path]]) -> str | None:
    for role in ("image", "mask", "region"):
        if len(paths := group[role]) > 1:
            others = ", ".join(map(source.said, paths[1:]))
            return f"{source.said(paths[0])}: is not the only {role} of its study: {others}"
    if not group["image"] and (alone := group["mask"] + group["region"]):
        return f"{source.said(alone[0])}: is a mask by its name, and no image shares its name"
    return None


def _words(name: str) -> set[str]:
    return {word.lower() for word in WORD.findall(name)}
