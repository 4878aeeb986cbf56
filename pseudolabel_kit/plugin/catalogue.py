"""Everything that is installed: found once, named by kind and name, imported when asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from inspect import get_annotations
from typing import Any

from pseudolabel_kit.deprecation import warn_renamed
from pseudolabel_kit.errors import PluginError, nearest
from pseudolabel_kit.plugin import discovery
from pseudolabel_kit.plugin.blame import place_within
from pseudolabel_kit.plugin.component import Component, Kind
from pseudolabel_kit.plugin.discovery import Broken, Plugin
from pseudolabel_kit.plugin.hooks import Observers, manager
from pseudolabel_kit.plugin.line import in_a_line


@dataclass(frozen=True)
class Offer:
    """A component and the plugin that brings it."""

    component: Component
    plugin: str

    def __str__(self) -> str:
        """The qualified name: "captum/ig"."""
        return f"{self.plugin}/{self.component.name}"

    @property
    def origin(self) -> str:
        """What messages call it: "explainer 'ig' of plugin 'captum'"."""
        return f"{self.component.kind} '{self.component.name}' of plugin '{self.plugin}'"


@dataclass(frozen=True)
class Catalogue:
    """The installed plugins.

    Attributes:
        plugins: those that loaded, sorted by name.
        broken: those that did not, sorted by name.
        disabled: the names of those that were switched off.
    """

    plugins: tuple[Plugin, ...] = ()
    broken: tuple[Broken, ...] = ()
    disabled: tuple[str, ...] = ()

    def offers(self, kind: Kind | None = None) -> Iterator[Offer]:
        """What is on offer, of one kind or of all, plugin by plugin."""
        for plugin in self.plugins:
            for component in plugin.components:
                if kind in (None, component.kind):
                    yield Offer(component, plugin.name)

    def names(self) -> dict[Offer, str]:
        """What to call each part: "captum/ig" where several plugins offer an "ig" of its kind."""
        offers = list(self.offers())
        count = Counter((each.component.kind, each.component.name) for each in offers)
        return {
            each: str(each)
            if count[each.component.kind, each.component.name] > 1
            else each.component.name
            for each in offers
        }

    def find(self, kind: Kind, name: str) -> Offer:
        """The one part of this kind and name; `name` may be qualified, as "captum/ig".

        A part that was renamed is found by its old name too, with a `FutureWarning`.

        Raises:
            PluginError: nobody offers it, or several do and the name is not qualified.
        """
        offers = list(self.offers(kind))
        matches = [each for each in offers if name in (each.component.name, str(each))]
        matches = matches or self._renamed(offers, name)
        if len(matches) > 1:
            both = " or ".join(f"'{offer}'" for offer in matches)
            raise PluginError(f"several plugins offer the {kind} '{name}': say {both}")
        if not matches:
            known = [offer.component.name for offer in offers] + list(map(str, offers))
            raise PluginError(f"there is no {kind} '{name}'{nearest(name, known)}{self.missing()}")
        return matches[0]

    @staticmethod
    def _renamed(offers: list[Offer], name: str) -> list[Offer]:
        found = []
        for each in offers:
            part, old = each.component, each.component.formerly
            if old is not None and name in (old.name, f"{each.plugin}/{old.name}"):
                what = f"plugin '{each.plugin}': {part.kind}"
                warn_renamed(what, old, part.name, stacklevel=4)
                found.append(each)
        return found

    def load(self, offer: Offer) -> type[Any]:
        """Import the class of a part (not of a recipe, which is a file).

        Raises:
            PluginError: the module cannot be imported, or the class breaks its contract;
                every other part stays usable.
        """
        target = offer.component.target
        try:
            part = _imported(target)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a stranger's module: it may raise anything when imported
            refuses = isinstance(error, PluginError)  # it says itself what to mend, and where
            at = "" if refuses else place_within(error, target.partition(":")[0])
            told = f"{offer.origin} cannot be imported: {in_a_line(error)}{at}"
            raise PluginError(told) from error
        _check(offer, part)
        return part  # type: ignore[no-any-return]

    def observers(self, *more: object) -> Observers:
        """The observing hooks of all plugins and of more objects, ready to be told of a run."""
        managers = [(plugin.name, plugin.hooks) for plugin in self.plugins]
        managers += [(type(each).__name__, manager(type(each).__name__, each)) for each in more]
        return Observers(managers)

    def missing(self) -> str:
        """Where a part that nobody offers may be: "; it may be in a broken plugin: ..."."""
        broken = [f"'{each.name}' ({each.reason})" for each in self.broken]
        hints = [f"it may be in a broken plugin: {', '.join(broken)}"] if broken else []
        if self.disabled:
            hints.append(f"switched off: {', '.join(self.disabled)}")
        return "".join(f"; {hint}" for hint in hints)


@cache
def catalogue() -> Catalogue:
    """Everything installed but what PLK_DISABLE_PLUGINS names; read once in a process."""
    return read()


def read(disabled: Set[str] = frozenset()) -> Catalogue:
    """Load every plugin but the `disabled` ones and those that PLK_DISABLE_PLUGINS names."""
    points = discovery.discover()
    off = disabled | discovery.disabled_names(points)
    loaded: list[Plugin | Broken] = []
    taken: dict[str, str] = {}
    for point in points:
        if point.name not in off:
            loaded.append(discovery.load(point, taken))
            taken.setdefault(point.name, point.distribution)
    plugins = tuple(each for each in loaded if isinstance(each, Plugin))
    broken = tuple(each for each in loaded if isinstance(each, Broken))
    switched_off = tuple(sorted({point.name for point in points} & off))
    return Catalogue(plugins, broken, switched_off)


def _imported(target: str) -> Any:
    module, _, attribute = target.partition(":")
    home = import_module(module)
    if not hasattr(home, attribute):
        hint = nearest(attribute, vars(home))
        raise AttributeError(f"module '{module}' has no attribute '{attribute}'{hint}")
    return getattr(home, attribute)


def _check(offer: Offer, part: Any) -> None:
    from pseudolabel_kit import interfaces, plugin  # lists of parts do without

    kind = offer.component.kind
    home = plugin if kind == "tracker" else interfaces
    contract: type = getattr(home, kind.capitalize())
    expected = f"{home.__name__}.{contract.__name__}"
    if not isinstance(part, type) or not issubclass(part, contract):
        raise PluginError(f"{offer.origin}: {part!r} is not a subclass of {expected}")
    if missing := sorted(getattr(part, "__abstractmethods__", ())):
        raise PluginError(f"{offer.origin}: {part.__name__} does not define {', '.join(missing)}")
    for each in part.__mro__:
        meant = [
            name for name, kind in get_annotations(each).items() if "ClassVar" not in str(kind)
        ]
        if meant and issubclass(each, contract) and "__dataclass_fields__" not in vars(each):
            raise PluginError(
                f"{offer.origin}: '{', '.join(meant)}' of {each.__name__} cannot be given: it is "
                "no dataclass; decorate the class with @dataclass(frozen=True, kw_only=True)"
            )
