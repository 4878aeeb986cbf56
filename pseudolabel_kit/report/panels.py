"""Strips of images: what the model saw, as pictures inside the page (the paper's Fig. 4).

Maps are laid over the image in one scale from 0 to 1. The true lesion is outlined in cyan;
in the decoder's map and the pseudo label, what passes 0.5 is outlined in white.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pseudolabel_kit.report.overlays import COLOURS, blended
from pseudolabel_kit.report.thumbnails import (
    MARKED,
    TRUTH,
    encoded,
    filled,
    fitted,
    fitted_image,
    trace,
)

_EVIDENCE, _LABEL = "evidence/", "label/"
ANSWERS = {"decoder": "decoder", "pseudo": "pseudo label"}
EVIDENCE = {
    "cam": "CAM",
    "caam": "CAAM",
    "ig": "integrated gradients",
    "input-x-gradient": "input x gradient",
    "gradcam": "Grad-CAM",
    "guided-gradcam": "guided Grad-CAM",
    "sgc": "self-attention Grad-CAM",
    "deeplift": "DeepLIFT",
}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A picture, None where there is nothing to show, and its title."""

    title: str
    source: str | None


@dataclass(frozen=True, kw_only=True)
class Strip:
    """All pictures of one image.

    Attributes:
        truth, predicted: class names, or None where not known.
        probability: of the predicted class, or None.
    """

    name: str
    panels: list[Panel]
    truth: str | None
    predicted: str | None
    probability: float | None


def strips(arrays: Mapping[str, NDArray[Any]], captions: Mapping[str, Any]) -> list[Strip]:
    """One strip for each image.

    Args:
        arrays: rows of "image", "truth" (NaN = not known), maps "evidence/REF", "decoder",
            "pseudo" and labels "label/REF"; and their "names".
        captions: lists along the rows: "truth", "predicted", "probability".
    """
    return [
        Strip(
            name=str(name),
            panels=list(_panels(arrays, i)),
            **{key: _at(captions, key, i) for key in ("truth", "predicted", "probability")},
        )
        for i, name in enumerate(arrays.get("names", ()))
    ]


def scale() -> str:
    """The colours from 0 to 1, as a CSS gradient's stops."""
    return ", ".join(mpl.colors.to_hex(COLOURS(v)) for v in np.linspace(0, 1, 9))


def _at(captions: Mapping[str, Any], key: str, i: int) -> Any:
    return captions[key][i] if key in captions else None


def _panels(arrays: Mapping[str, NDArray[Any]], i: int) -> Iterator[Panel]:
    image = fitted_image(arrays["image"][i])
    size = image.shape[:2]
    truth = arrays["truth"][i] if "truth" in arrays else np.full((1, 1), np.nan)
    known = bool(np.isfinite(truth).all())
    lesion = fitted(truth, size, Image.Resampling.NEAREST) >= 0.5 if known else None
    yield Panel(title="image", source=encoded(image))
    known_truth = None if lesion is None else encoded(filled(image, lesion))
    yield Panel(title="truth", source=known_truth)
    for name in _maps(arrays):
        map_ = fitted(arrays[name][i], size, Image.Resampling.BILINEAR)
        picture = blended(image, map_)
        if not name.startswith(_EVIDENCE):
            trace(picture, map_ >= 0.5, MARKED)
        if lesion is not None:
            trace(picture, lesion, TRUTH)
        yield Panel(title=title(name), source=encoded(picture))


def _maps(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    evidence = [name for name in arrays if name.startswith(_EVIDENCE)]
    answers = [name for name in ANSWERS if name in arrays]
    return evidence + answers + [name for name in arrays if name.startswith(_LABEL)]


def title(array: str) -> str:
    """What "evidence/ig:steps=8" is: "integrated gradients, steps=8"."""
    name, *options = array.removeprefix(_EVIDENCE).removeprefix(_LABEL).split(":")
    return ANSWERS.get(array) or ", ".join([EVIDENCE.get(name, name), *options])
