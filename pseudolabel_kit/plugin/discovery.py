"""From entry points to plugins: each is loaded by itself, and a broken one breaks nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

import pluggy

from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.plugin.component import NAME, Component
from pseudolabel_kit.plugin.hooks import PROJECT, manager

GROUP = PROJECT
DISABLE = "PLK_DISABLE_PLUGINS"
_OURS = "pseudolabel-kit"


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A plugin that loaded.

    Attributes:
        name: of its entry point.
        distribution: what to install to get it, with the version.
        components: what it offers, in its own order.
        heavy: its light module imported torch, which slows every command.
        hooks: the plugin alone in a manager.
    """

    name: str
    distribution: str
    components: tuple[Component, ...]
    heavy: bool
    hooks: pluggy.PluginManager


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A plugin that did not load, and why, in one line."""

    name: str
    distribution: str
    reason: str


def discover() -> list[EntryPoint]:
    """Every entry point of our group, sorted by name."""
    return sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))


def disabled_names(points: Iterable[EntryPoint]) -> frozenset[str]:
    """The plugins that PLK_DISABLE_PLUGINS switches off: names by comma; "all" = all but ours."""
    words = {word.strip() for word in os.environ.get(DISABLE, "").split(",")}
    strangers = {point.name for point in points if not _is_ours(point)}
    return frozenset(words | strangers if "all" in words else words)


def load(point: EntryPoint, taken: Iterable[str] = ()) -> Plugin | Broken:
    """Import a plugin's light module, check its hooks and ask for its components.

    Args:
        point: where the module is.
        taken: names of other plugins, which this one must not have.
    """
    torch_before = "torch" in sys.modules
    try:
        if not NAME.fullmatch(point.name):
            raise PluginError("an entry point's name is letters, digits, '.', '_' and '-'")
        if point.name in taken:
            raise PluginError("another distribution brings a plugin of this name")
        hooks = manager(point.name, point.load())
        components = _components(hooks)
    except (Exception, SystemExit) as error:  # a stranger's code: it may raise anything
        return Broken(name=point.name, distribution=_distribution(point), reason=in_a_line(error))
    return Plugin(
        name=point.name,
        distribution=_distribution(point),
        components=components,
        heavy="torch" in sys.modules and not torch_before,
        hooks=hooks,
    )


def in_a_line(error: BaseException) -> str:
    """An exception as one line: its class, unless the message was written for people."""
    text = " ".join(str(error).split())
    if isinstance(error, PluginError | pluggy.PluginValidationError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _components(hooks: pluggy.PluginManager) -> tuple[Component, ...]:
    caller = hooks.hook.plk_components
    if not caller.get_hookimpls():
        return ()
    answers = caller()
    answer = answers[0] if answers else None
    if not isinstance(answer, list | tuple):
        raise PluginError(f"plk_components returned {answer!r}, expected a list of Component")
    seen: set[tuple[str, str]] = set()
    for component in answer:
        if not isinstance(component, Component):
            raise PluginError(f"plk_components holds {component!r}, expected a Component")
        if (key := (component.kind, component.name)) in seen:
            raise PluginError(f"it offers the {component.kind} '{component.name}' twice")
        seen.add(key)
    return tuple(answer)


def _is_ours(point: EntryPoint) -> bool:
    return point.dist is not None and point.dist.name == _OURS


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
