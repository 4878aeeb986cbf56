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

VERSION = 2  # changes whenever a pixel does
CLASSES: tuple[Disease, ...] = get_args(Disease)

# Three patients, one a class, take each place in turn: 1 labelled, 10 unlabelled, 2 val, 4 test.
_TURNS: tuple[Split, ...] = (
    *("labelled", "test", "val", "unlabelled", "unlabelled", "unlabelled"),
    *("test", "unlabelled", "unlabelled", "unlabelled", "val", "unlabelled"),
    *("unlabelled", "test", "unlabelled", "unlabelled", "test"),
)


@dataclass(frozen=True, kw_only=True)
class Phantom(Dataset):
    """Axial slices of healthy lungs, of pneumonia, and of COVID-19 with its lesions marked.

    Vessels, nodules and blood at the back of the lungs are bright in every class, and the
    consolidations of pneumonia are brighter than the lesions but are not marked: brightness
    alone solves neither task. A slice carries the class of its patient, also where it shows
    no disease. The region is the lungs.

    Attributes:
        size: side in pixels.
        patients: how many; 12 of 204 are labelled, 120 unlabelled, 24 val, 48 test.
        slices: per patient.
        seed: other seeds, other patients.
    """

    size: int = 96
    patients: int = 204
    slices: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        for option, least in (("size", 16), ("patients", 12), ("slices", 1), ("seed", 0)):
            if (value := getattr(self, option)) < least:
                raise ValueError(f"{option} = {value}: expected at least {least}")

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
        return f"phantom {VERSION}:{self.size}:{self.patients}:{self.slices}:{self.seed}"

    @cached_property
    def _people(self) -> tuple[Patient, ...]:
        seeds = ([self.seed, patient, 2**31] for patient in range(self.patients))
        return tuple(
            draw_patient(np.random.default_rng(seed), CLASSES[i % len(CLASSES)])
            for i, seed in enumerate(seeds)
        )
