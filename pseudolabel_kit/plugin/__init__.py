"""The door: components, references, hooks and the catalogue. Imports no torch.

A plugin's light module needs no more than this:

    from pseudolabel_kit.plugin import Component, hookimpl

    PLK_CONTRACT = 1

    @hookimpl
    def plk_components() -> list[Component]:
        return [Component("fuser", "mine", "my_package.mine:Mine", "Fuses as I like it.")]

`PLK_CONTRACT` is the contract that the plugin was written to; `CONTRACT` is the one that this
version of the kit keeps. A plugin with another number, or none, is refused, and says so in
`plk plugins list`.

What raises the number is what breaks a plugin that kept to it: a public name, a field of what
flows, a hook or its argument that goes or means something else; a method or an argument that
every author must now write; a promise to the parts that is taken back. What does not: a new
name, kind or hook; a new field, argument or method with a default; a new check of what was
promised before; whatever is not public. What is to go is deprecated for a version first:
`Formerly` keeps the old name of a part or of an option, for shipped plugins and for yours.
"""

from typing import TYPE_CHECKING, Any

from pseudolabel_kit.deprecation import Formerly, former_attribute
from pseudolabel_kit.plugin.component import CONTRACT, Component
from pseudolabel_kit.plugin.hooks import Level, Outcome, Run, hookimpl
from pseudolabel_kit.plugin.tracker import Tracker

if TYPE_CHECKING:
    from pseudolabel_kit.plugin.moment import Moment

__all__ = [
    "CONTRACT",
    "Component",
    "Formerly",
    "Level",
    "Moment",
    "Outcome",
    "Run",
    "Tracker",
    "hookimpl",
]

if not TYPE_CHECKING:  # for a type checker only the names of today exist

    def __getattr__(name: str) -> Any:
        if name == "Moment":  # it is pydantic's, which a light module does without
            from pseudolabel_kit.plugin.moment import Moment

            return Moment
        return former_attribute(__name__, name)
