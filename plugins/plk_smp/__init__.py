"""Architectures and encoders of segmentation-models-pytorch and timm."""

from __future__ import annotations

from pseudolabel_kit.plugin.component import Component
from pseudolabel_kit.plugin.hooks import hookimpl

PLK_CONTRACT = 1
COMPONENTS = [
    Component(
        "backbone",
        "smp",
        "plk_smp.smp:Smp",
        "Any architecture of segmentation-models-pytorch on any encoder, timm's included.",
    ),
]


@hookimpl
def plk_components() -> list[Component]:
    """What this plugin offers."""
    return COMPONENTS
