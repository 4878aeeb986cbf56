"""PseudoSeg (Zou et al., 2021): self-attention Grad-CAM, fused with the decoder."""

from __future__ import annotations

from pseudolabel_kit.plugin.component import Component
from pseudolabel_kit.plugin.hooks import hookimpl

PLK_CONTRACT = 1
COMPONENTS = [
    Component(
        "explainer",
        "sgc",
        "plk_pseudoseg.sgc:Sgc",
        "Self-attention Grad-CAM, its head trained by masks.",
    ),
    Component(
        "fuser",
        "pseudoseg",
        "plk_pseudoseg.pseudoseg:PseudoSeg",
        "Soft labels: decoder and class map, divided by one root mean square, sharpened.",
    ),
    Component(
        "recipe",
        "pseudoseg",
        "plk_pseudoseg:recipes/pseudoseg.toml",
        "PseudoSeg under our budget.",
    ),
    Component(
        "recipe",
        "pseudoseg-code",
        "plk_pseudoseg:recipes/pseudoseg-code.toml",
        "PseudoSeg as its authors ran it.",
    ),
]


@hookimpl
def plk_components() -> list[Component]:
    """What this plugin offers."""
    return COMPONENTS
