"""Attributions by captum, through one adapter."""

from __future__ import annotations

from pseudolabel_kit.plugin.component import Component
from pseudolabel_kit.plugin.hooks import hookimpl

COMPONENTS = [
    Component(
        "explainer",
        "input-x-gradient",
        "plk_captum.input_x_gradient:InputXGradient",
        "One gradient times the distance from a baseline.",
    ),
]


@hookimpl
def plk_components() -> list[Component]:
    """What this plugin offers."""
    return COMPONENTS
