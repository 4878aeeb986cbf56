"""A run reads a scan: slices in batches through the network, and back onto the scan's voxels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from pseudolabel_kit.answers.lungs import Lungs, grey, no_lungs
from pseudolabel_kit.data.fit import resize
from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.engine.readout import class_probabilities, lesion_probability, marked_from
from pseudolabel_kit.scans.geometry import Geometry, Grid
from pseudolabel_kit.scans.study import Slices

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a run says of a scan.

    Attributes:
        geometry: the scan's grid, and that of its slices.
        scores: class probabilities of each slice (D,N); None where the run does not classify.
        probability: of a lesion, in slices (D,H,W), the largest of several channels; None where
            the run does not segment.
        marked: the least probability that the mask marks.
        lungs: None where nobody knows.
    """

    geometry: Geometry
    scores: Floats | None
    probability: Floats | None
    marked: float
    lungs: Lungs | None

    @property
    def depth(self) -> int:
        """How many slices there are."""
        return self.geometry.slices.size[2]

    def lesion_mm2(self) -> NDArray[np.float64] | None:
        """The area of the mask in each slice (D,)."""
        if self.probability is None:
            return None
        across, down, _ = self.geometry.slices.spacing
        counts = (self.probability >= self.marked).sum(axis=(1, 2))
        return np.asarray(counts * across * down, dtype=np.float64)

    def lung_ml(self) -> float | None:
        """The volume of the lungs."""
        return None if self.lungs is None else _ml(int(self.lungs.mask.sum()), self.geometry.slices)

    def share_of_lung(self) -> float | None:
        """How much of the lungs the mask marks, from 0 to 1; what lies outside does not count."""
        if self.lungs is None or self.probability is None or not self.lungs.mask.any():
            return None
        return float((self.probability[self.lungs.mask] >= self.marked).mean())

    def on_scan(self) -> tuple[sitk.Image, sitk.Image] | None:
        """Lesion probability (float32) and mask (uint8, 0 and 1) on the scan's own voxels."""
        if self.probability is None:
            return None
        probability = self.geometry.back(self.probability)
        return probability, sitk.BinaryThreshold(probability, self.marked, 2)


def read_scan(
    predictor: Predictor,
    slices: Slices,
    *,
    lungs: Lungs | None = None,
    batch_size: int = 8,
    said: str = "the scan",
) -> Reading:
    """Predict a scan's slices.

    Args:
        slices: grey, by the settings that the run's data were made by.
        lungs: a run whose images are black outside their region sees these alone.
        batch_size: how many are held on the device at once.
        said: how errors call the scan.

    Raises:
        DataError: such a run is given no lungs, and never saw what lies around them.
    """
    blackened = lungs if predictor.config.data.region == "black" else None
    if predictor.config.data.region == "black" and lungs is None:
        raise no_lungs(said, "give --lungs")
    scores: list[Floats] = []
    probability: list[Floats] = []
    for start in range(0, len(slices.images), batch_size):
        chosen = slice(start, start + batch_size)
        planes = grey(slices.images[chosen], blackened and blackened.mask[chosen])
        prediction = predictor(_fitted(planes, predictor))
        if (found := class_probabilities(prediction)) is not None:
            scores.append(found)
        if (found := lesion_probability(prediction, predictor.task)) is not None:
            largest = resize(found.max(axis=1), slices.images.shape[1:3])
            probability.append(np.clip(largest, 0, 1))
    return Reading(
        geometry=Geometry.from_json(slices.facts["geometry"]),
        scores=np.concatenate(scores) if scores else None,
        probability=np.concatenate(probability) if probability else None,
        marked=marked_from(predictor.task),
        lungs=lungs,
    )


def volume_ml(mask: sitk.Image) -> float:
    """The volume that a mask of 0 and 1 marks."""
    return _ml(int(np.count_nonzero(sitk.GetArrayViewFromImage(mask))), Grid.of(mask))


def _ml(voxels: int, grid: Grid) -> float:
    return voxels * math.prod(grid.spacing) / 1000


def _fitted(planes: Floats, predictor: Predictor) -> torch.Tensor:
    """Grey planes (B,h,w) as the run's images (B,C,H,W)."""
    resized = np.clip(resize(planes, predictor.task.size), 0, 1)
    return torch.from_numpy(np.repeat(resized[:, None], predictor.task.channels, axis=1))
