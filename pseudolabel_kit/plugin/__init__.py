"""The door: components, references, hooks and the catalogue. Imports no torch.

A plugin's light module needs no more than this:

    from pseudolabel_kit.plugin import Component, hookimpl

    @hookimpl
    def plk_components() -> list[Component]:
        return [Component("fuser", "mine", "my_package.mine:Mine", "Fuses as I like it.")]
"""

from pseudolabel_kit.plugin.component import Component
from pseudolabel_kit.plugin.hooks import Run, hookimpl
from pseudolabel_kit.plugin.tracker import Tracker

__all__ = ["Component", "Run", "Tracker", "hookimpl"]
