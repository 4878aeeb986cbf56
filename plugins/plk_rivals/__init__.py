"""What a user would pick today: Mean Teacher, UA-MT, CPS, UniMatch, BCP."""

from __future__ import annotations

from pseudolabel_kit.plugin.component import Component
from pseudolabel_kit.plugin.hooks import hookimpl

PLK_CONTRACT = 1
COMPONENTS = [
    Component(
        "explainer",
        "uncertainty",
        "plk_rivals.uncertainty:Uncertainty",
        "Where the masks change their mind under noise and dropout.",
    ),
    Component(
        "fuser",
        "mean-teacher",
        "plk_rivals.mean_teacher:MeanTeacher",
        "The teacher's probabilities, under a squared error.",
    ),
    Component(
        "fuser",
        "ua-mt",
        "plk_rivals.ua_mt:UncertaintyAware",
        "The teacher's probabilities, where it is certain.",
    ),
    Component(
        "recipe",
        "mean-teacher",
        "plk_rivals:recipes/mean-teacher.toml",
        "Mean Teacher: an averaged teacher and a squared error.",
    ),
    Component(
        "recipe",
        "ua-mt",
        "plk_rivals:recipes/ua-mt.toml",
        "UA-MT: Mean Teacher where the teacher is certain.",
    ),
    Component(
        "recipe",
        "cps",
        "plk_rivals:recipes/cps.toml",
        "Cross pseudo supervision: two students label each other.",
    ),
    Component(
        "recipe",
        "unimatch",
        "plk_rivals:recipes/unimatch.toml",
        "UniMatch: FixMatch on two strong views and on noisy features.",
    ),
    Component(
        "recipe",
        "bcp",
        "plk_rivals:recipes/bcp.toml",
        "Bidirectional copy-paste of labelled and unlabelled images.",
    ),
]


@hookimpl
def plk_components() -> list[Component]:
    """What this plugin offers."""
    return COMPONENTS
