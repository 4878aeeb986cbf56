"""Hard labels weighed by confidence, and the supervised run without any."""

from __future__ import annotations

from pseudolabel_kit.plugin.component import Component
from pseudolabel_kit.plugin.hooks import hookimpl

PLK_CONTRACT = 1
COMPONENTS = [
    Component(
        "fuser",
        "fixmatch",
        "plk_thresholds.fixmatch:FixMatch",
        "Hard labels where the teacher is confident.",
    ),
    Component(
        "fuser",
        "flexmatch",
        "plk_thresholds.flexmatch:FlexMatch",
        "Hard labels; lower thresholds for what is learnt more slowly.",
    ),
    Component(
        "fuser",
        "freematch",
        "plk_thresholds.freematch:FreeMatch",
        "Hard labels; thresholds follow the teacher's confidence, with a fairness term.",
    ),
    Component(
        "fuser",
        "none",
        "plk_thresholds.none:Nothing",
        "No pseudo labels: a supervised run.",
    ),
    Component(
        "fuser",
        "pseudo-label",
        "plk_thresholds.pseudo_label:PseudoLabel",
        "Hard labels everywhere, however unsure.",
    ),
    Component(
        "fuser",
        "softmatch",
        "plk_thresholds.softmatch:SoftMatch",
        "Hard labels; weights fall smoothly below the usual confidence.",
    ),
    Component(
        "recipe",
        "fixmatch",
        "plk_thresholds:recipes/fixmatch.toml",
        "FixMatch under our budget.",
    ),
    Component(
        "recipe",
        "fixmatch-paper",
        "plk_thresholds:recipes/fixmatch-paper.toml",
        "FixMatch with the publication's optimiser and proportions.",
    ),
    Component(
        "recipe",
        "flexmatch",
        "plk_thresholds:recipes/flexmatch.toml",
        "FlexMatch under our budget.",
    ),
    Component(
        "recipe",
        "freematch",
        "plk_thresholds:recipes/freematch.toml",
        "FreeMatch under our budget.",
    ),
    Component(
        "recipe",
        "pseudo-label",
        "plk_thresholds:recipes/pseudo-label.toml",
        "Pseudo-Label: a slow ramp, no strong view.",
    ),
    Component(
        "recipe",
        "softmatch",
        "plk_thresholds:recipes/softmatch.toml",
        "SoftMatch under our budget.",
    ),
    Component(
        "recipe",
        "supervised",
        "plk_thresholds:recipes/supervised.toml",
        "The labelled rows alone, with our defaults.",
    ),
]


@hookimpl
def plk_components() -> list[Component]:
    """What this plugin offers."""
    return COMPONENTS
