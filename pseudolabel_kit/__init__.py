"""Pseudo-label strategies for semi-supervised medical imaging, as plugins.

Everything a script needs, imported when first used: `import pseudolabel_kit` loads no torch.

    run = pseudolabel_kit.train({"method": {"fuser": "fixmatch", "explainer": "none"}})
    pseudolabel_kit.evaluate(run, split="test")
    reading = pseudolabel_kit.load(run).read("slice.png")
    pseudolabel_kit.predict(run, ["scan.nii.gz"], "answers")
    fuser = pseudolabel_kit.build("fuser", "sharpen:norm=pixel")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pseudolabel_kit.answers.everything import predict as predict
    from pseudolabel_kit.engine.evaluate import evaluate as evaluate
    from pseudolabel_kit.engine.predict import load as load
    from pseudolabel_kit.engine.run import train as train
    from pseudolabel_kit.plugin.build import build as build
    from pseudolabel_kit.plugin.catalogue import catalogue as catalogue

    __version__: str

_HOMES = {
    "build": "pseudolabel_kit.plugin.build",
    "catalogue": "pseudolabel_kit.plugin.catalogue",
    "evaluate": "pseudolabel_kit.engine.evaluate",
    "load": "pseudolabel_kit.engine.predict",
    "predict": "pseudolabel_kit.answers.everything",
    "train": "pseudolabel_kit.engine.run",
}

__all__ = ["__version__", "build", "catalogue", "evaluate", "load", "predict", "train"]


if not TYPE_CHECKING:  # for a type checker only the names of today exist

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            return version("pseudolabel-kit")
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        from pseudolabel_kit.deprecation import former_attribute

        return former_attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted(__all__)
