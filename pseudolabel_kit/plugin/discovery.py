"""From entry points to plugins: each is loaded by itself, and a broken one breaks nothing else."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import distributions
from reprlib import repr as shortened
from time import perf_counter

import pluggy

from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.plugin.component import CONTRACT, MODULE, NAME, Component
from pseudolabel_kit.plugin.hooks import PROJECT, manager
from pseudolabel_kit.plugin.light import lightly
from pseudolabel_kit.plugin.line import in_a_line
from pseudolabel_kit.plugin.trace import traced

GROUP = PROJECT
DISABLE = "PLK_DISABLE_PLUGINS"
_OURS = "pseudolabel-kit"


@dataclass(frozen=True, kw_only=True)
class Point:
    """An entry point of our group.

    Attributes:
        name: of the plugin.
        module: its light module.
        distribution: what to install to get it, with the version.
        ours: it comes with the kit.
    """

    name: str
    module: str
    distribution: str
    ours: bool


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A plugin that loaded.

    Attributes:
        name: of its entry point.
        distribution: what to install to get it, with the version.
        components: what it offers, in its own order.
        seconds: how long every command waits for it, if nobody imported its module before.
        hooks: the plugin alone in a manager.
    """

    name: str
    distribution: str
    components: tuple[Component, ...]
    seconds: float
    hooks: pluggy.PluginManager


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A plugin that did not load, and why, in one line."""

    name: str
    distribution: str
    reason: str


def discover() -> list[Point]:
    """Every entry point of our group, sorted by name; of one name, ours comes first.

    Read here, since the standard library's `entry_points` fails for all when one distribution
    wrote a line without "=", and parses the files of those that have nothing for us.
    """
    points: dict[str, list[Point]] = {}
    for each in distributions():
        text = each.read_text("entry_points.txt") or ""
        if f"[{GROUP}]" not in text:
            continue
        metadata = each.metadata
        name, version = metadata["Name"], metadata["Version"]
        normal = re.sub(r"[-_.]+", "-", str(name)).lower()
        found = [
            Point(name=key, module=value, distribution=f"{name} {version}", ours=normal == _OURS)
            for key, value in _lines(text)
        ]
        points.setdefault(normal, found)  # the first on the path hides others of its name
    return sorted(
        (point for found in points.values() for point in found),
        key=lambda point: (point.name, not point.ours, point.distribution, point.module),
    )


def disabled_names(points: Iterable[Point]) -> frozenset[str]:
    """The plugins that PLK_DISABLE_PLUGINS switches off: names by comma; "all" = all but ours."""
    words = {word.strip() for word in os.environ.get(DISABLE, "").split(",")}
    strangers = {point.name for point in points if not point.ours}
    return frozenset(words | strangers if "all" in words else words)


def load(point: Point, taken: Mapping[str, str] | None = None) -> Plugin | Broken:
    """Import a plugin's light module, check its hooks and ask for its components.

    Args:
        point: where the module is.
        taken: names of other plugins, which this one must not have, and their distributions.
    """
    start = perf_counter()
    try:
        _check(point, taken or {})
        with traced(point.name, f"import {point.module}"):
            hooks, components = lightly(point.module, partial(_read, point))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a stranger's code: it may raise anything, SystemExit too
        return Broken(name=point.name, distribution=point.distribution, reason=in_a_line(error))
    return Plugin(
        name=point.name,
        distribution=point.distribution,
        components=components,
        seconds=perf_counter() - start,
        hooks=hooks,
    )


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """The names and values of our section."""
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line
        elif section == f"[{GROUP}]" and line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()


def _check(point: Point, taken: Mapping[str, str]) -> None:
    if not NAME.fullmatch(point.name):
        raise PluginError("an entry point's name is letters, digits, '.', '_' and '-'")
    if not MODULE.fullmatch(point.module):
        raise PluginError(
            f"its entry point says {point.module!r}: expected the name of its light module, "
            "as in 'my_package'"
        )
    if point.name in taken:
        raise PluginError(
            f"{taken[point.name]} brings a plugin of this name, and so does "
            f"{point.distribution}: uninstall one of the two"
        )


def _read(point: Point) -> tuple[pluggy.PluginManager, tuple[Component, ...]]:
    module = import_module(point.module)
    _check_contract(point, vars(module).get("PLK_CONTRACT"))
    hooks = manager(point.name, module)
    return hooks, _components(hooks)


def _check_contract(point: Point, contract: object) -> None:
    """Comes before anything whose shape another contract may have changed."""
    if contract is None:
        raise PluginError(
            "it does not say which contract it was made for: "
            f"expected PLK_CONTRACT = {CONTRACT} in {point.module}"
        )
    if contract != CONTRACT:
        from pseudolabel_kit import __version__

        raise PluginError(
            f"it was made for contract {contract!r}; this {_OURS} ({__version__}) has contract "
            f"{CONTRACT}: install another version of {point.distribution.rpartition(' ')[0]}, "
            f"or of {_OURS}"
        )


def _components(hooks: pluggy.PluginManager) -> tuple[Component, ...]:
    caller = hooks.hook.plk_components
    if not caller.get_hookimpls():
        return ()
    answers = caller()
    answer = answers[0] if answers else None
    if not isinstance(answer, list | tuple):
        raise PluginError(
            f"plk_components returned {shortened(answer)}, expected a list of Component"
        )
    seen: set[tuple[str, str]] = set()
    for component in answer:
        if not isinstance(component, Component):
            raise PluginError(f"plk_components holds {shortened(component)}, expected a Component")
        if (key := (component.kind, component.name)) in seen:
            raise PluginError(f"it offers the {component.kind} '{component.name}' twice")
        seen.add(key)
    return tuple(answer)
