"""What files are to each other, told by their names: image, lesion mask or lung mask.

What a file is, its folder's name says, or else its own: `Infection_Mask/case1.nii.gz`,
`case1/lung_mask.nii.gz` and `case1_ct.nii.gz` are told apart by their words; a file that calls
itself a mask is one also in a folder of images. Files belong together when what is left of their
paths, without those words, is the same. Masks that are numbered, `x_mask.png` and `x_mask_1.png`,
are parts of one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Literal, TypeAlias

from pseudolabel_kit.scans.study import FileStudy, Found, Skipped, Study, safe_name
from pseudolabel_kit.scans.tree import Source
from pseudolabel_kit.scans.volumes import stem

Role = Literal["image", "mask", "region", "both"]
Roles: TypeAlias = dict[Role, list[Path]]

IMAGE = {"ct", "image", "images", "img", "imgs", "scan", "scans", "volume", "volumes"}
LUNG = {"lung", "lungs"}
LESION = {"infection", "infections", "lesion", "lesions", "tumor", "tumour"}
MASK = {"mask", "masks", "label", "labels", "annotation", "annotations"}
SEGMENTATION = {"seg", "segmentation", "segmentations"}
ROLES = IMAGE | LUNG | LESION | MASK | SEGMENTATION | {"and"}
WORD = re.compile(r"[^\W_]+")
NUMBERED = re.compile(r"(.+)[ _-]\d+")


def side_by_side(
    source: Source, suffixes: tuple[str, ...], kind: type[FileStudy], *, of_patients: bool
) -> Found:
    """A study for every image; a mask without one is left out by name.

    Args:
        suffixes: of the files that count.
        kind: what is made of them.
        of_patients: whether a study's name, which is common to its files' paths, is a patient's.
    """
    groups: dict[str, Roles] = defaultdict(lambda: defaultdict(list))
    for path in source.files:
        if path.name.lower().endswith(suffixes):
            key, role = _key(source, path, stem(path))
            groups[key][role].append(path)
    parts = _parts(source, groups)
    studies: list[Study] = []
    skipped: list[Skipped] = list(source.skipped)
    for key, group in sorted(groups.items()):
        if problem := _problem(source, group):
            skipped.append(Skipped(key, problem))
        elif group["image"]:
            (image,) = group["image"]
            studies.append(
                kind(
                    name=key,
                    patient=key if of_patients else "",
                    folder=source.top(image),
                    source=source.folder,
                    image=image,
                    masks=(*group["mask"], *parts[key]),
                    region=next(iter(group["region"]), None),
                )
            )
    return studies, skipped


def _parts(source: Source, groups: dict[str, Roles]) -> dict[str, list[Path]]:
    """Numbered masks, taken from their own groups, by the group whose mask they are a part of."""
    parts: dict[str, list[Path]] = defaultdict(list)
    for group in list(groups.values()):
        for path in () if group["image"] else tuple(group["mask"]):
            if not (numbered := NUMBERED.fullmatch(stem(path))):
                continue
            key, role = _key(source, path, numbered[1])
            if role == "mask" and key in groups and groups[key]["image"]:
                group["mask"].remove(path)
                parts[key].append(path)
    return parts


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


def _key(source: Source, path: Path, name: str) -> tuple[str, Role]:
    """What files of one study share, and the role of this one, by its folders and its name."""
    *folders, _ = path.relative_to(source.folder).parts
    roles = [role_of(folder) for folder in folders]
    left = [folder for folder, role in zip(folders, roles, strict=True) if role is None]
    role = next((role for role in reversed(roles) if role), None)
    if role is None or (role == "image" and _words(name) & (MASK | SEGMENTATION)):
        role = role_of(name)
    return safe_name("-".join(filter(None, [*left, _bare(name)]))), role or "image"


def _bare(name: str) -> str:
    """A name without the words that tell roles.

    >>> _bare("Case_1_lung_mask"), _bare("Case_1"), _bare("ct-7")
    ('Case_1', 'Case_1', '7')
    """
    left = WORD.sub(lambda word: "" if word[0].lower() in ROLES else word[0], name)
    return re.sub(r"([\W_])[\W_]+", r"\1", left).strip(" _-.")


def _problem(source: Source, group: Roles) -> str | None:
    for role in ("image", "mask", "region"):
        if len(paths := group[role]) > 1:
            others = ", ".join(map(source.said, paths[1:]))
            return f"{source.said(paths[0])}: is not the only {role} of its study: {others}"
    if not group["image"] and (alone := group["mask"] + group["region"]):
        return f"{source.said(alone[0])}: is a mask by its name, and no image shares its name"
    return None


def _words(name: str) -> set[str]:
    return {word.lower() for word in WORD.findall(name)}
