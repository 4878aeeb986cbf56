"""MultiMix (Haque et al., 2021): a saliency bridge between the two tasks."""

from __future__ import annotations

from pseudolabel_kit.plugin.component import Component
from pseudolabel_kit.plugin.hooks import hookimpl

PLK_CONTRACT = 1
COMPONENTS = [
    Component(
        "backbone",
        "multimix",
        "plk_multimix.network:MultiMix",
        "U-Net whose decoder sees the image and the classifier's saliency.",
    ),
    Component(
        "fuser",
        "multimix",
        "plk_multimix.fuser:MultiMixFuser",
        "Class labels above a confidence, and masks alike in both streams.",
    ),
    Component(
        "recipe", "multimix", "plk_multimix:recipes/multimix.toml", "MultiMix under our budget."
    ),
    Component(
        "recipe",
        "multimix-code",
        "plk_multimix:recipes/multimix-code.toml",
        "MultiMix as its authors ran it, its idle term included.",
    ),
]


@hookimpl
def plk_components() -> list[Component]:
    """What this plugin offers."""
    return COMPONENTS
