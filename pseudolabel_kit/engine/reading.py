"""What a run says of an image, in the image's own size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.data.fit import inside_square, resize
from pseudolabel_kit.engine.images import ImageFile, Pixels
from pseudolabel_kit.engine.readout import (
    class_probabilities,
    lesion_probability,
    likeliest,
    marked_from,
)
from pseudolabel_kit.interfaces import Prediction, Task


@dataclass(frozen=True, kw_only=True)
class ImageReading:
    """The answer to one image; empty and None where the run lacks the head.

    Attributes:
        probabilities: of every class, by its name.
        lesion: the probability of a lesion at each pixel (K,h,w).
        threshold: the least that counts as lesion.
    """

    probabilities: Mapping[str, float]
    lesion: Pixels | None
    threshold: float

    @property
    def predicted(self) -> str:
        """The likeliest class, or nothing where the run does not classify."""
        return likeliest(self.probabilities)

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """What counts as lesion (K,h,w)."""
        return None if self.lesion is None else self.lesion >= self.threshold


def readings(prediction: Prediction, task: Task, images: Sequence[ImageFile]) -> list[ImageReading]:
    """A network's answer to fitted images, as one of each image."""
    scores, lesion = class_probabilities(prediction), lesion_probability(prediction, task)
    return [
        ImageReading(
            probabilities={}
            if scores is None
            else dict(zip(task.classes, scores[i].tolist(), strict=True)),
            lesion=None if lesion is None else in_own_size(image, lesion[i]),
            threshold=marked_from(task),
        )
        for i, image in enumerate(images)
    ]


def in_own_size(image: ImageFile, planes: Pixels) -> Pixels:
    """Planes of the run's size in that of the image, still in [0, 1]."""
    height, width = image.grey.shape
    if not image.padded:
        return np.clip(resize(planes, (height, width)), 0, 1)
    side, (rows, columns) = max(height, width), inside_square((height, width))
    return np.clip(resize(planes, (side, side))[:, rows, columns], 0, 1)
