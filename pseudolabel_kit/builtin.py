"""The parts that the kit itself brings, offered by the same door as everyone's."""

from __future__ import annotations

from pseudolabel_kit.plugin import Component, hookimpl

PLK_CONTRACT = 1


@hookimpl
def plk_components() -> list[Component]:
    """The datasets."""
    return [
        Component(
            "dataset",
            "phantom",
            "pseudolabel_kit.data.phantom:Phantom",
            "Synthetic chest slices of three classes, made on the fly.",
        ),
        Component(
            "dataset",
            "manifest",
            "pseudolabel_kit.data.manifest:Manifest",
            "Your images, as a manifest.csv lists them.",
        ),
    ]
