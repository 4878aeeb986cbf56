"""Hard labels where the decoder is confident, and the supervised run without any."""

from __future__ import annotations

from pseudolabel_kit.plugin.component import Component
from pseudolabel_kit.plugin.hooks import hookimpl

COMPONENTS = [
    Component(
        "fuser",
        "fixmatch",
        "plk_thresholds.fixmatch:FixMatch",
        "Hard labels where the teacher is confident.",
    ),
    Component(
        "fuser",
        "none",
        "plk_thresholds.none:Nothing",
        "No pseudo labels: a supervised run.",
    ),
]


@hookimpl
def plk_components() -> list[Component]:
    """What this plugin offers."""
    return COMPONENTS
