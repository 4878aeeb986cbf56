"""A dataset folder of slices of a chest, for the tests of its lungs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from data_support import write_manifest, write_png
from lung_phantom import Chest, chest

BODY: Chest = chest(depth=8, side=64)
WITH_LUNGS = range(1, 7)
EXPERT = (2, 3)  # the slices whose region came with the dataset


def write_chest(folder: Path) -> Path:
    """Slices 1 to 6 of two patients and one of muscle alone; two slices have a region."""
    lines = []
    for i in WITH_LUNGS:
        write_png(folder / f"images/{i}.png", BODY.grey[i])
        line = {"image": f"images/{i}.png", "region": "", "note": "a, b"}
        if i in EXPERT:
            write_png(folder / f"lung/{i}.png", BODY.lungs[i] * 255)
            line["region"] = f"lung/{i}.png"
        lines.append(line | {"patient": f"p{i % 2}", "split": "val" if i % 2 else "labelled"})
    write_png(folder / "images/muscle.png", np.full((64, 64), 220))
    lines.append({"image": "images/muscle.png", "patient": "p2", "split": "test"})
    return write_manifest(folder, lines)
