"""A study of noise that is drawn without a model."""

from __future__ import annotations

import numpy as np

from pseudolabel_kit.viewer.answers import Answers
from pseudolabel_kit.viewer.drawing import Drawn
from pseudolabel_kit.viewer.layers import layers
from pseudolabel_kit.viewer.sprites import EACH
from pseudolabel_kit.viewer.stack import Slice

SIDE = 24
MAPS = ("ig:steps=8", "caam")


def answers(count: int, seed: int = 0) -> Answers:
    """Maps of noise; slice i has a marked square whose side is i, the first has none."""
    rng = np.random.default_rng(seed)
    marked = np.zeros((count, SIDE, SIDE), dtype=bool)
    for i in range(count):
        marked[i, 2 : 2 + i, 2 : 2 + i] = True
    probabilities = rng.dirichlet([1, 1], count).astype(np.float32)

    def maps() -> np.ndarray:
        return rng.random((count, SIDE, SIDE)).astype(np.float32)

    return Answers(
        probabilities=probabilities,
        evidence={name: maps() for name in MAPS},
        decoder=maps(),
        marked=marked,
        label=maps(),
        taught=np.full(count, 0.75, dtype=np.float32),
    )


def drawn(name: str = "case", count: int = 5, *, truth: bool = True) -> Drawn:
    """A study of up to 16 slices; truth is known of all but the last."""
    assert count <= EACH
    rng = np.random.default_rng(1)
    study = Drawn(
        name=name,
        classes=("ill", "sound"),
        frame=(SIDE, SIDE),
        grid=(SIDE, SIDE),
        layers=layers(MAPS, masks=True, label=True, truth=truth),
    )
    lesion = np.zeros((SIDE, SIDE), dtype=bool)
    lesion[3:9, 3:9] = True
    study.add(
        [
            Slice(
                image=rng.random((1, SIDE, SIDE)).astype(np.float32),
                truth=lesion if truth and i < count - 1 else None,
                label="ill" if truth and i < count - 1 else None,
            )
            for i in range(count)
        ],
        answers(count),
    )
    return study
