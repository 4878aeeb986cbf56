"""What this plugin offers. `plk` imports it to list what there is: keep torch out of it."""

from __future__ import annotations

from pseudolabel_kit.plugin import Component, hookimpl

PLK_CONTRACT = 1  # the version of the kit's contract that this plugin was written for


@hookimpl
def plk_components() -> list[Component]:
    """The fuser, and a recipe that uses it."""
    return [
        Component(
            "fuser",
            "staple",
            "plk_staple.staple:Staple",
            "STAPLE: raters are trusted as far as they agree, image by image.",
        ),
        Component(
            "recipe",
            "staple",
            "plk_staple:staple.toml",
            "Calibrated pseudo labels, fused by STAPLE.",
        ),
    ]
