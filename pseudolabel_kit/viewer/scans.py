"""Volumes and DICOM series as studies: cut into slices as the run's data were."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import partial

from pseudolabel_kit.answers.lungs import Lungs, grey, lungs_of, no_lungs
from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.scans.study import Settings, Slices, Study, without_masks
from pseudolabel_kit.viewer.stack import Slice, Stack


def stacks(
    studies: Sequence[Study], settings: Settings, data: DataConfig, *, truth: bool = False
) -> list[Stack]:
    """One for each study; it is read as a whole, when its turn has come.

    Args:
        data: of a run whose images are black outside their region, which sees the lungs alone.
        truth: whether lesion masks that lie beside scans are read, and handed on.
    """
    if data.region == "black" and any(getattr(each, "region", None) is None for each in studies):
        warnings.warn(
            "the run was trained on images that are black outside the lungs (data.region = "
            "black); where no lung mask lies beside a scan, a threshold finds them",
            stacklevel=2,
        )
    seen = studies if truth else [without_masks(study) for study in studies]
    return [
        Stack(
            name=study.name,
            slices=partial(_slices, study, settings, data.region == "black"),
            stamp=study.stamp(settings),
            truth=bool(getattr(study, "masks", ())),
        )
        for study in seen
    ]


def _slices(study: Study, settings: Settings, black: bool) -> tuple[int, Iterator[Slice]]:
    slices = study.slices(settings)
    lungs = lungs_of(slices, None) if black else None
    if black and lungs is None:
        raise no_lungs(study.name, "lay a lung mask beside it")
    return len(slices.images), _each(slices, lungs)


def _each(slices: Slices, lungs: Lungs | None) -> Iterator[Slice]:
    images = grey(slices.images, lungs and lungs.mask)
    for i, image in enumerate(images):
        yield Slice(
            image=image[None],
            truth=None if slices.masks is None else slices.masks[i],
            oriented=slices.oriented,
        )
