"""Strong views that several methods share: noise, colour jitter, CutOut, CutMix and their kin."""

from __future__ import annotations

from pseudolabel_kit.plugin.component import Component
from pseudolabel_kit.plugin.hooks import hookimpl

PLK_CONTRACT = 1
COMPONENTS = [
    Component(
        "perturbation",
        "noise",
        "plk_views.noise:Noise",
        "Clipped Gaussian noise on every pixel.",
    ),
    Component(
        "perturbation",
        "colour-jitter",
        "plk_views.colour_jitter:ColourJitter",
        "Random brightness, contrast, saturation and blur for every row.",
    ),
    Component(
        "perturbation",
        "cutout",
        "plk_views.cutout:CutOut",
        "Hides a box of every row, and ignores it in the loss.",
    ),
    Component(
        "perturbation",
        "cutmix",
        "plk_views.cutmix:CutMix",
        "Pastes a box of another row, with its pseudo labels.",
    ),
    Component(
        "perturbation",
        "unimatch",
        "plk_views.unimatch:UniMatch",
        "Two strong views, and the weak one under feature dropout.",
    ),
    Component(
        "perturbation",
        "bcp",
        "plk_views.bcp:BidirectionalCopyPaste",
        "Labelled pasted into unlabelled rows, and the other way round.",
    ),
]


@hookimpl
def plk_components() -> list[Component]:
    """What this plugin offers."""
    return COMPONENTS
