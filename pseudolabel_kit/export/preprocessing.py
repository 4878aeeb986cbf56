"""How scans and pictures become a run's input: steps in their order, ready for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.scans.choices import PICTURES

Step = dict[str, Any]

RESIZED = "each channel as float32, Pillow BILINEAR (antialiased), stretched"
WINDOW = (
    "width in HU around level: black below, white above; a volume file whose values all lie "
    "from 0 to 255 is grey already: level 127.5, width 255"
)
PERCENTILES = (
    "of all values of the whole scan before it was resampled; what is at the percentile low is "
    "black, at high white"
)


def preprocessing(predictor: Predictor) -> dict[str, list[Step] | None]:
    """The steps for a picture, and those for a scan.

    `scan` is None where the run's data were no scans that `plk data import` read.
    """
    imported = predictor.imported
    scans = imported is not None and imported.get("layout") not in PICTURES
    return {
        "picture": list(_picture(predictor)),
        "scan": list(_scan(predictor, imported or {})) if scans else None,
    }


def _picture(predictor: Predictor) -> Iterator[Step]:
    yield {"step": "scale", "how": "8-bit values / 255, 16-bit values / 65535"}
    yield from _blackened(predictor)
    if predictor.padded:
        yield {"step": "pad", "how": "to a square, with black, evenly; the odd pixel comes last"}
    yield from _fitted(predictor)


def _scan(predictor: Predictor, imported: Mapping[str, Any]) -> Iterator[Step]:
    yield {
        "step": "orient",
        "axes": "LPS",
        "how": "axes exchanged and turned round only; the slices are axial",
    }
    yield {
        "step": "resample",
        "spacing": imported["spacing"],
        "how": "linear, to spacing in mm (x, y, z), about the same centre",
    }
    yield {
        "step": "pad",
        "how": "to slices that are square in mm, evenly, with the value that is black",
    }
    yield {"step": "resize", "size": [imported["size"]] * 2, "how": RESIZED}
    window = imported["window"]
    yield {
        "step": "window",
        **window,
        "bits": imported["bits"],
        "how": f"{PERCENTILES if 'low' in window else WINDOW}; clipped, and rounded to bits",
    }
    yield {"step": "scale", "how": "to [0, 1]: values / (2 ** bits - 1)"}
    yield from _blackened(predictor)
    yield from _fitted(predictor)


def _blackened(predictor: Predictor) -> Iterator[Step]:
    if predictor.config.data.region == "black":
        yield {"step": "blacken", "how": "images must be black (0) outside the lungs"}


def _fitted(predictor: Predictor) -> Iterator[Step]:
    channels = predictor.task.channels
    yield {"step": "channels", "channels": channels, "how": "grey is repeated"}
    yield {
        "step": "resize",
        "size": list(predictor.task.size),
        "how": f"{RESIZED}; clipped to [0, 1]",
    }
