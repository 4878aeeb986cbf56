"""What a user of an exported file has to know, written into it: no path, nothing of a patient."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

from pseudolabel_kit.data.fit import SMALLEST
from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.engine.readout import marked_from
from pseudolabel_kit.export.graph import CLASSES, INPUT, MASKS
from pseudolabel_kit.export.preprocessing import preprocessing
from pseudolabel_kit.plugin.reference import parse

FORMAT = 1  # changes with what is written here
KEY = "pseudolabel_kit"  # of the metadata of an ONNX file
EXTRA_FILE = f"{KEY}.json"  # in a .pt2 file


def facts(predictor: Predictor) -> dict[str, Any]:
    """Classes, preprocessing, decision rules, origin; ready for JSON."""
    task = predictor.task
    return {
        "format": FORMAT,
        "classes": list(task.classes),
        "lesion_classes": [task.classes[i] for i in task.lesion_classes],
        "mask_channels": task.mask_channels,
        "input": {
            "name": INPUT,
            "channels": task.channels,
            "size": list(task.size),
            "range": [0, 1],
            "values": "float32; 8-bit values / 255, 16-bit values / 65535",
            "smallest_side": SMALLEST,
        },
        "preprocessing": preprocessing(predictor),
        "outputs": {
            CLASSES: "(batch, classes), sums to 1",
            MASKS: "(batch, mask_channels, height, width), of a lesion, in [0, 1]",
        },
        "rules": {
            "class": f"argmax of {CLASSES}",
            "mask": f"{MASKS}, resized (float32, Pillow BILINEAR) to the size before the last "
            "step, its padding cut off, is at least the threshold",
            "mask_threshold": marked_from(task),
        },
        "run": {"backbone": parse(predictor.config.method.backbone).name, "step": predictor.step},
        "versions": {name: version(name) for name in ("pseudolabel-kit", "torch")},
    }


def as_text(predictor: Predictor) -> str:
    """The facts as JSON."""
    return json.dumps(facts(predictor), ensure_ascii=False)
