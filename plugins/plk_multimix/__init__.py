"""MultiMix (Haque et al., 2021): a saliency bridge between the two tasks."""

from __future__ import annotations

from pseudolabel_kit.plugin.component import Component
from pseudolabel_kit.plugin.hooks import hookimpl

COMPONENTS: list[Component] = []


@hookimpl
def plk_components() -> list[Component]:
    """What this plugin offers."""
    return COMPONENTS
