"""Other programs that are told of a run: each behind an extra of its own."""

from __future__ import annotations

from pseudolabel_kit.plugin.component import Component
from pseudolabel_kit.plugin.hooks import hookimpl

COMPONENTS: list[Component] = []


@hookimpl
def plk_components() -> list[Component]:
    """What this plugin offers."""
    return COMPONENTS
