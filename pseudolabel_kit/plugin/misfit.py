"""Why hooks do not fit their specifications, in words for the plugin's author."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import Parameter, signature

import pluggy

from pseudolabel_kit.errors import nearest

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def misfits(manager: pluggy.PluginManager, plugin: object, specification: type) -> Iterator[str]:
    """One line for each hook of another name, or with other arguments, than is specified."""
    hooks = [name for name in vars(specification) if name.startswith("plk_")]
    for attribute in dir(plugin):
        marked = manager.parse_hookimpl_opts(plugin, attribute)
        if marked is None:
            continue
        hook = marked["specname"] or attribute
        if hook not in hooks:
            hint = nearest(hook, hooks) or f": there are {', '.join(hooks)}"
            yield f"there is no hook '{hook}'{hint}"
            continue
        given = _required(getattr(specification, hook))[1:]
        for name in _required(getattr(plugin, attribute)):
            if name not in given:
                offered = ", ".join(given) or "no arguments"
                yield (
                    f"hook {hook} asks for an argument '{name}'{nearest(name, given)}: "
                    f"it is given {offered}"
                )


def _required(function: object) -> list[str]:
    """The arguments that the caller of a hook must give; `self` is one in a class's function."""
    return [
        name
        for name, parameter in signature(function).parameters.items()  # type: ignore[arg-type]
        if parameter.kind in _POSITIONAL and parameter.default is Parameter.empty
    ]
