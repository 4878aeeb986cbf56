"""One study on its way into the dataset folder: whole, or not at all.

images/STUDY/0000.png    grey of 8 or 16 bits; masks/ and regions/ likewise, 0 or 255
studies/STUDY.json       written last: grids, window, rows of the manifest, stamp of the sources
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pseudolabel_kit.errors import DataError, RunError
from pseudolabel_kit.files import write_text
from pseudolabel_kit.scans.choices import LabelFrom
from pseudolabel_kit.scans.study import Settings, Skipped, Slices, Study

COLUMNS = ("image", "mask", "region", "label", "patient", "split", "study", "slice")
FOLDERS = {"image": "images", "mask": "masks", "region": "regions"}
ASIDE = ".import"
STUDIES = "studies"


class Done(NamedTuple):
    """A study that is done.

    Attributes:
        rows: of the manifest.
        thin: slices whose lesion is thinner than a pixel.
    """

    rows: list[dict[str, str]]
    thin: int


def convert(study: Study, settings: Settings, out: Path) -> Skipped | None:
    """Write a study, or say why it cannot be used.

    Raises:
        RunError: the dataset folder cannot be written.
    """
    try:
        stamp = study.stamp(settings)
        slices = study.slices(settings)
    except DataError as error:
        return Skipped(study.name, str(error))
    except OSError as error:  # a file that has gone since it was found
        return Skipped(study.name, f"{study.name}: {error.strerror}")
    try:
        written = _write(study.name, slices, out)
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {error.strerror or error}") from error
    facts = {
        "stamp": stamp,
        **slices.facts,
        "rows": _rows(study, slices, written, settings.label_from),
    }
    write_text(_facts_file(out, study.name), json.dumps(facts, indent=1) + "\n")
    return None


def done(study: Study, out: Path) -> Done:
    """What the manifest and its reader are told of a study that is done."""
    facts = _facts(study, out)
    return Done(facts["rows"], facts.get("thin", 0))


def is_done(study: Study, settings: Settings, out: Path) -> bool:
    """Whether the study is there, of the same files and by the same settings."""
    try:
        return bool(_facts(study, out)["stamp"] == study.stamp(settings))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _facts(study: Study, out: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(_facts_file(out, study.name).read_text(encoding="utf-8"))
    return facts


def _facts_file(out: Path, name: str) -> Path:
    return out / STUDIES / f"{name}.json"


def _write(name: str, slices: Slices, out: Path) -> dict[str, list[str]]:
    """Write a study's pictures aside, then put them in their places; their paths by kind."""
    aside = out / ASIDE / name
    shutil.rmtree(aside, ignore_errors=True)
    _facts_file(out, name).unlink(missing_ok=True)
    kinds = {"image": slices.images, "mask": slices.masks, "region": slices.regions}
    written: dict[str, list[str]] = {}
    for kind, planes in kinds.items():
        shutil.rmtree(out / FOLDERS[kind] / name, ignore_errors=True)
        if planes is not None:
            written[kind] = _save(planes, aside / kind, f"{FOLDERS[kind]}/{name}")
            (out / FOLDERS[kind]).mkdir(parents=True, exist_ok=True)
            (aside / kind).rename(out / FOLDERS[kind] / name)
    shutil.rmtree(aside, ignore_errors=True)
    return written


def _save(planes: NDArray[Any], folder: Path, named: str) -> list[str]:
    folder.mkdir(parents=True)
    values = planes * np.uint8(255) if planes.dtype == np.bool_ else planes
    names = [f"{i:04d}.png" for i in range(len(values))]
    for name, plane in zip(names, values, strict=True):
        Image.fromarray(plane).save(folder / name)
    return [f"{named}/{name}" for name in names]


def _rows(
    study: Study, slices: Slices, written: dict[str, list[str]], label_from: LabelFrom | None
) -> list[dict[str, str]]:
    rows = []
    for i in range(len(slices.images)):
        label = study.folder if label_from is LabelFrom.FOLDER else ""
        if label_from is LabelFrom.LESION and slices.masks is not None:
            label = "lesion" if slices.masks[i].any() else "no_lesion"
        row = dict.fromkeys(COLUMNS, "")
        row |= {kind: paths[i] for kind, paths in written.items()}
        row |= {"label": label, "patient": study.patient, "study": study.name, "slice": str(i)}
        rows.append(row)
    return rows
