"""Volumes and DICOM series as studies: cut into slices as the run's data were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from pseudolabel_kit.scans.study import Settings, Study
from pseudolabel_kit.viewer.stack import Slice, Stack


def stacks(studies: Sequence[Study], settings: Settings) -> list[Stack]:
    """One for each study; it is read as a whole, when its turn has come."""
    return [
        Stack(
            name=study.name,
            slices=partial(_slices, study, settings),
            stamp=study.stamp(settings),
        )
        for study in studies
    ]


def _slices(study: Study, settings: Settings) -> tuple[int, Iterator[Slice]]:
    images = study.slices(settings).images
    top = np.float32(np.iinfo(images.dtype).max)
    planes = (np.moveaxis(np.atleast_3d(image), -1, 0) for image in images)
    return len(images), (Slice(image=plane.astype(np.float32) / top) for plane in planes)
