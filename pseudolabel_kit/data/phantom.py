"""A synthetic chest-CT dataset with three classes, one of them with lesion masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np

from pseudolabel_kit.data.anatomy import Disease, Patient, draw_patient
from pseudolabel_kit.data.painter import paint
from pseudolabel_kit.interfaces import Dataset, Row, Sample, Split

VERSION = 1  # changes whenever a pixel does
CLASSES: tuple[Disease, ...] = get_args(Disease)

# Three patients, one a class, take each place in turn: 1 labelled, 10 unlabelled, 2 val, 4 test.
_L, _U, _V, _T = "labelled", "unlabelled", "val", "test"
_TURNS: tuple[Split, ...] = (_L, _T, _V, _U, _U, _U, _T, _U, _U, _U, _V, _U, _U, _T, _U, _U, _T)


@dataclass(frozen=True, kw_only=True)
class Phantom(Dataset):
    """Axial slices of healthy lungs, of pneumonia, and of COVID-19 with its lesions marked.

    Vessels, nodules and blood at the back of the lungs are bright in every class, and the
    consolidations of pneumonia are brighter than the lesions but are not marked: brightness
    alone solves neither task. A slice carries the class of its patient, also where it shows
    no disease. The region is the lungs.

    Attributes:
        size: side in pixels.
        patients: how many; 6 of 102 are labelled, 60 unlabelled, 12 val, 24 test.
        slices: per patient.
        seed: other seeds, other patients.
    """

    size: int = 96
    patients: int = 102
    slices: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 16:
            raise ValueError(f"size = {self.size}: expected at least 16 pixels")
        if self.patients < 12:
            raise ValueError(f"patients = {self.patients}: expected at least 12, to fill 4 splits")
        if self.slices < 1:
            raise ValueError(f"slices = {self.slices}: expected at least 1")

    @property
    def classes(self) -> tuple[str, ...]:
        """No pneumonia, community-acquired pneumonia, COVID-19."""
        return CLASSES

    @property
    def lesion_classes(self) -> tuple[int, ...]:
        """COVID-19 alone."""
        return (CLASSES.index("covid19"),)

    def rows(self) -> Sequence[Row]:
        """Patient by patient, each from the top of the lungs to their base."""
        return [
            Row(
                name=f"patient{patient:03d}-slice{number:02d}",
                label=patient % len(CLASSES),
                patient=f"patient{patient:03d}",
                split=_TURNS[patient // len(CLASSES) % len(_TURNS)],
                has_mask=True,
                has_region=True,
            )
            for patient in range(self.patients)
            for number in range(self.slices)
        ]

    def read(self, index: int) -> Sample:
        """Paint one slice, the same in any order and process."""
        patient, number = divmod(index, self.slices)
        rng = np.random.default_rng([self.seed, patient, number])
        level = (number + rng.uniform(0.2, 0.8)) / self.slices
        painted = paint(self._people[patient], level, self.size, rng)
        return Sample(
            image=np.rint(painted.image[None] * 255).astype(np.float32) / np.float32(255),
            mask=painted.lesion[None],
            region=painted.lungs[None],
        )

    def fingerprint(self) -> str:
        """The options decide every pixel."""
        return f"phantom-{VERSION}:{self.size}:{self.patients}:{self.slices}:{self.seed}"

    @cached_property
    def _people(self) -> tuple[Patient, ...]:
        seeds = ([self.seed, patient, 2**31] for patient in range(self.patients))
        return tuple(
            draw_patient(np.random.default_rng(seed), CLASSES[i % len(CLASSES)])
            for i, seed in enumerate(seeds)
        )
