"""The answer to a scan, in numbers: for the patient, and slice by slice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pseudolabel_kit.answers.patient import pooled
from pseudolabel_kit.answers.reading import Reading
from pseudolabel_kit.engine.readout import likeliest
from pseudolabel_kit.interfaces import Task


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a run says of one scan; None and empty where it does not say it.

    Attributes:
        study: its name.
        patient: who it is of: the study's name or a pseudonym.
        probabilities: of every class, by its name.
        pooled: the slices that these are the mean of.
        lesion_ml: what the mask marks on the scan's own voxels.
        lung_ml: the lungs, where they are known.
        lungs_by: what tells where they are: "mask", or "threshold" where none was there.
        share_of_lung: how much of them the mask marks, from 0 to 1.
        slices: how many the scan was cut into.
        slices_with_lesion: those of them in which the mask marks anything.
    """

    study: str
    patient: str
    probabilities: Mapping[str, float]
    pooled: Sequence[int]
    lesion_ml: float | None
    lung_ml: float | None
    lungs_by: str
    share_of_lung: float | None
    slices: int
    slices_with_lesion: int | None

    @property
    def predicted(self) -> str:
        """The likeliest class, or nothing where the run does not classify."""
        return likeliest(self.probabilities)

    @classmethod
    def of(
        cls, reading: Reading, task: Task, *, study: str, patient: str, lesion_ml: float | None
    ) -> Answer:
        """Put together what was read."""
        probabilities: dict[str, float] = {}
        chosen: list[int] = []
        if reading.scores is not None:
            mean, found = pooled(reading.scores, task.lesion_classes)
            probabilities = dict(zip(task.classes, mean.tolist(), strict=True))
            chosen = found.tolist()
        areas = reading.lesion_mm2()
        return cls(
            study=study,
            patient=patient,
            probabilities=probabilities,
            pooled=chosen,
            lesion_ml=lesion_ml,
            lung_ml=reading.lung_ml(),
            lungs_by=reading.lungs.by if reading.lungs else "",
            share_of_lung=reading.share_of_lung(),
            slices=reading.depth,
            slices_with_lesion=None if areas is None else int(np.count_nonzero(areas)),
        )

    def row(self) -> dict[str, Any]:
        """A line of `studies.csv`."""
        return {
            "study": self.study,
            "patient": self.patient,
            "predicted": self.predicted,
            **class_cells(self.probabilities),
            "lesion_ml": _rounded(self.lesion_ml, 3),
            "lung_ml": _rounded(self.lung_ml, 3),
            "lungs_by": self.lungs_by,
            "share_of_lung": _rounded(self.share_of_lung, 6),
            "slices": self.slices,
            "slices_with_lesion": self.slices_with_lesion,
        }


def slice_rows(reading: Reading, classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Lines of `slices/NAME.csv`, from the feet up; z is that of a slice's centre, mm."""
    grid = reading.geometry.slices
    centre = [(n - 1) / 2 * s for n, s in zip(grid.size[:2], grid.spacing[:2], strict=True)]
    areas = reading.lesion_mm2()
    for i in range(reading.depth):
        along = (*centre, i * grid.spacing[2])
        z = grid.origin[2] + sum(d * a for d, a in zip(grid.direction[6:], along, strict=True))
        scores = (
            {} if reading.scores is None else dict(zip(classes, reading.scores[i], strict=True))
        )
        yield {
            "slice": i,
            "z_mm": f"{z:.3f}",
            "predicted": likeliest(scores),
            **class_cells(scores),
            "lesion_mm2": None if areas is None else f"{areas[i]:.2f}",
            "max_probability": None
            if reading.probability is None
            else f"{reading.probability[i].max():.6f}",
        }


def class_cells(probabilities: Mapping[str, float]) -> dict[str, str]:
    """A column a class."""
    return {f"p_{name}": f"{value:.6f}" for name, value in probabilities.items()}


def _rounded(value: float | None, places: int) -> str | None:
    return None if value is None else f"{value:.{places}f}"
