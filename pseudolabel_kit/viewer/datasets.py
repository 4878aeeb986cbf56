"""The studies of a dataset: its manifest's column `study` or `volume`, else its patients."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.data.source import open_dataset
from pseudolabel_kit.data.splits import assign
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.interfaces import Dataset, Row, Sample, Split
from pseudolabel_kit.viewer.inputs import manifest_of
from pseudolabel_kit.viewer.stack import Slice, Stack

GROUPS = ("study", "volume")


def stacks(
    source: str,
    config: DataConfig,
    *,
    split: Split | None = None,
    patient: str | None = None,
    truth: bool = False,
) -> list[Stack]:
    """The studies of a dataset; patients are numbered, as their names would tell them.

    Args:
        source: the manifest, its folder, or a dataset's reference.
        config: how the run reads and splits its data.
        split: rows of one side alone, as a run on this dataset would draw it.
        patient: rows of one alone, by its name in the dataset.
        truth: whether masks and classes are handed on.

    Raises:
        DataError: the dataset is not what was expected, or holds no such rows.
    """
    config = config.model_copy(update={"source": source, "lesion_classes": ()})
    dataset = open_dataset(config)
    rows = dataset.rows()
    chosen = _chosen(rows, config, split, patient)
    groups = _groups(source, rows)
    members: dict[str, list[int]] = {name: [] for name in dict.fromkeys(groups)}
    for i in chosen:
        members[groups[i]].append(i)
    stamp = dataset.fingerprint()
    return [
        Stack(
            name=name,
            slices=partial(_slices, dataset, indices, config.region == "black", truth),
            stamp=f"{stamp} {indices} {truth}",
            truth=truth and any(rows[i].has_mask for i in indices),
        )
        for name, indices in members.items()
        if indices
    ]


def _chosen(
    rows: Sequence[Row], config: DataConfig, split: Split | None, patient: str | None
) -> list[int]:
    side = range(len(rows)) if split is None else getattr(assign(rows, config, config.seed), split)
    known = {row.patient for row in rows if row.patient is not None}
    if patient is not None and patient not in known:
        raise DataError(f"{config.source}: there is no patient '{patient}'")
    found = [i for i in side if patient is None or rows[i].patient == patient]
    if not found:
        of = f" of patient '{patient}'" if patient else ""
        raise DataError(f"{config.source}: the split '{split}' holds no rows{of}")
    return found


def _groups(source: str, rows: Sequence[Row]) -> list[str]:
    """The study of each row; rows without a study or a patient are one."""
    patients = list(dict.fromkeys(row.patient for row in rows if row.patient is not None))
    width = len(str(len(patients)))
    numbered = {name: f"patient {number:0{width}}" for number, name in enumerate(patients, 1)}
    named = _named(source)
    return [named.get(row.name) or numbered.get(row.patient or "", "images") for row in rows]


def _named(source: str) -> Mapping[str, str]:
    """The studies that a manifest names, by image."""
    file = manifest_of(source)
    if file is None:
        return {}
    with file.open(encoding="utf-8-sig", newline="") as text:
        cells = [{k.strip(): v for k, v in row.items() if k} for row in csv.DictReader(text)]
    return {
        (row["image"] or "").strip(): name.strip()
        for row in cells
        if (name := next(filter(None, map(row.get, GROUPS)), None))
    }


def _slices(
    dataset: Dataset, indices: Sequence[int], black: bool, truth: bool
) -> tuple[int, Iterator[Slice]]:
    return len(indices), _each(dataset, indices, black, truth)


def _each(dataset: Dataset, indices: Sequence[int], black: bool, truth: bool) -> Iterator[Slice]:
    rows = dataset.rows()
    for i in indices:
        sample, label = dataset.read(i), rows[i].label
        known = truth and sample.mask is not None
        yield Slice(
            image=_blackened(sample, rows[i].name) if black else sample.image,
            truth=np.any(sample.mask, axis=0) if known else None,
            label=dataset.classes[label] if truth and label is not None else None,
        )


def _blackened(sample: Sample, name: str) -> NDArray[np.float32]:
    """An image as a run saw it that was trained on images black outside their regions."""
    if sample.region is None:
        raise DataError(
            f"{name}: has no region, and the run was trained on images that are black outside "
            "it (data.region = black)"
        )
    return sample.image * sample.region
