"""What can be laid over a study's images, each with colours of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import matplotlib as mpl
import numpy as np

from pseudolabel_kit.report.panels import title

# From dark to pale, each of another hue: two maps can be told apart where both are on.
MAPS = ("inferno", "PuBu_r", "YlGn_r", "RdPu_r", "PuBuGn_r", "YlOrBr_r")
PALEST = 0.8  # of the others: beyond, they are as white as bright tissue
OUTLINES = {"mask": "#ffffff", "truth": "#00e6ff"}  # as in every report


@dataclass(kw_only=True)
class Layer:
    """One of them.

    Attributes:
        name: "evidence/REF", "decoder", "label", "mask" or "truth".
        title: what people call it.
        kind: a map is coloured, of a mask the outline is drawn.
        colours: of a map from 0 to 1; one of an outline.
        on: whether it is seen when the page is opened.
        sprites: the pictures, in the order of slices.
    """

    name: str
    title: str
    kind: Literal["map", "outline"]
    colours: Sequence[str]
    on: bool
    sprites: list[str] = field(default_factory=list)


def layers(evidence: Sequence[str], *, masks: bool, label: bool, truth: bool) -> list[Layer]:
    """The layers of a study, in the order of their keys."""
    maps = [(f"evidence/{reference}", title(f"evidence/{reference}")) for reference in evidence]
    maps += [("decoder", "decoder's probability")] if masks else []
    maps += [("label", "pseudo label")] if label else []
    found = [
        Layer(name=name, title=words, kind="map", colours=_ramp(i), on=i == 0)
        for i, (name, words) in enumerate(maps)
    ]
    outlines = [*(["mask"] if masks else []), *(["truth"] if truth else [])]
    words = {"mask": "mask: what is marked as lesion", "truth": "truth: the reference mask"}
    return found + [
        Layer(name=name, title=words[name], kind="outline", colours=[OUTLINES[name]], on=True)
        for name in outlines
    ]


def _ramp(number: int) -> list[str]:
    """Nine colours from 0 to 1."""
    name = MAPS[number % len(MAPS)]
    palest = 1 if name == MAPS[0] else PALEST
    return [mpl.colors.to_hex(mpl.colormaps[name](value)) for value in np.linspace(0, palest, 9)]
