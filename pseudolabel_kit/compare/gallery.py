"""The methods side by side, image by image (the paper's Fig. 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pseudolabel_kit.compare import pictures
from pseudolabel_kit.compare.results import Comparison
from pseudolabel_kit.engine.scores import dice
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.report.records import read_arrays
from pseudolabel_kit.report.thumbnails import TRUTH, encoded, filled, fitted, fitted_image, trace

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
MARKED = (1.0, 0.55, 0.1)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One thumbnail.

    Attributes:
        source: a data URI, or None where there is nothing to show.
        instead: what is said then.
        dice: of this image, or None where its truth holds no lesion or is not known.
    """

    source: str | None
    instead: str = "not shown it"
    dice: float | None = None


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Images downwards, methods across.

    Attributes:
        methods: names of the rows that segment, and of those whose pictures cannot be read.
        images: each with the image, its truth, and one picture a method.
    """

    methods: Sequence[str]
    images: Sequence[Sequence[Picture]]


def gallery(comparison: Comparison) -> Gallery:
    """The pictures of each row's first finished seed.

    Images are known by their names, which are not shown: they may tell whom they are of.
    """
    found = {
        row.name: _readable(measured.folder / pictures.name(comparison.split))
        for row in comparison.rows
        for measured in list(row.finished.values())[:1]
    }
    drawn = {n: arrays for n, arrays in found.items() if arrays is None or "probability" in arrays}
    reference = max((each for each in drawn.values() if each), key=_images, default=None)
    if reference is None:
        return Gallery(methods=(), images=())
    images = [_row(reference, i, list(drawn.values())) for i in range(_images(reference))]
    return Gallery(methods=list(drawn), images=images)


def _readable(path: Path) -> Arrays | None:
    """A run's pictures, nothing where it keeps none; None where they are damaged."""
    try:
        found = read_arrays(path)
    except RunError:
        return None
    sizes = {len(array) if array.ndim else None for array in found.values()}
    whole = {"names", "image", "truth"} <= found.keys() and len(sizes) == 1
    return found if whole or not found else None


def _images(arrays: Arrays) -> int:
    return len(arrays["names"])


def _row(reference: Arrays, index: int, methods: Sequence[Arrays | None]) -> list[Picture]:
    image = fitted_image(reference["image"][index].astype(np.float32))
    truth = reference["truth"][index]
    known = bool(np.isfinite(truth).all())
    lesion = _mask(truth, image.shape[:2]) if known else None
    shown = None if lesion is None else encoded(filled(image, lesion))
    answers = [
        Picture(source=None, instead="not readable")
        if arrays is None
        else _answer(image, lesion, truth, _of(arrays, reference["names"][index]))
        for arrays in methods
    ]
    return [Picture(source=encoded(image)), Picture(source=shown, instead="not known"), *answers]


def _of(arrays: Arrays, name: object) -> NDArray[Any] | None:
    """A method's probabilities of an image, or None where it was not shown that image."""
    at = np.flatnonzero(arrays["names"] == name)
    return arrays["probability"][at[0]] if len(at) else None


def _answer(
    image: NDArray[np.float64],
    lesion: NDArray[np.bool_] | None,
    truth: NDArray[Any],
    probability: NDArray[Any] | None,
) -> Picture:
    if probability is None:
        return Picture(source=None)
    picture = filled(image, _mask(probability, image.shape[:2]), MARKED)
    if lesion is not None:
        trace(picture, lesion, TRUTH)
    return Picture(source=encoded(picture), dice=_overlap(probability, truth))


def _mask(layer: NDArray[Any], size: tuple[int, ...]) -> NDArray[np.bool_]:
    return fitted(layer, (size[0], size[1]), Image.Resampling.NEAREST) >= 0.5


def _overlap(probability: NDArray[Any], truth: NDArray[Any]) -> float | None:
    """The image's Dice at 0.5, from pixels in the size that they were measured in."""
    if probability.shape != truth.shape or not np.isfinite(truth).all():
        return None
    marked, lesion = probability >= 0.5, truth >= 0.5
    pairs = (marked & lesion, marked & ~lesion, ~marked & lesion, ~marked & ~lesion)
    found = float(dice(np.array([[pair.sum() for pair in pairs]], dtype=np.float64)))
    return found if np.isfinite(found) else None
