"""From a reference to a part: find it, import it, read its options, make it."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any, Literal, get_args, overload

from pseudolabel_kit.deprecation import former_names, under_todays_names
from pseudolabel_kit.errors import ConfigError, PluginError, nearest
from pseudolabel_kit.interfaces import Backbone, Dataset, Explainer, Fuser, Perturbation
from pseudolabel_kit.plugin.blame import place_within
from pseudolabel_kit.plugin.catalogue import catalogue
from pseudolabel_kit.plugin.component import Kind
from pseudolabel_kit.plugin.line import in_a_line, message
from pseudolabel_kit.plugin.options import convert, options
from pseudolabel_kit.plugin.reference import Reference, parse
from pseudolabel_kit.plugin.trace import traced
from pseudolabel_kit.plugin.tracker import Tracker


@overload
def build(kind: Literal["backbone"], reference: str | Reference) -> Backbone: ...
@overload
def build(kind: Literal["explainer"], reference: str | Reference) -> Explainer: ...
@overload
def build(kind: Literal["fuser"], reference: str | Reference) -> Fuser: ...
@overload
def build(kind: Literal["perturbation"], reference: str | Reference) -> Perturbation: ...
@overload
def build(kind: Literal["dataset"], reference: str | Reference) -> Dataset: ...
@overload
def build(kind: Literal["tracker"], reference: str | Reference) -> Tracker: ...
@overload
def build(kind: Kind, reference: str | Reference) -> Any: ...
def build(kind: Kind, reference: str | Reference) -> Any:
    """One part by its reference.

    `build("fuser", "sharpen:norm=pixel")` is `Sharpen(norm="pixel")`. Values are read by the
    type of their field: "true", "none", "0.3/0.4/0.4" for a tuple, or one word of a `Literal`.

    Raises:
        ConfigError: the reference is malformed, an option is unknown (the nearest is named)
            or out of range.
        PluginError: nobody offers the part, several do, or its module cannot be imported.
    """
    if isinstance(reference, str):
        reference = parse(reference)
    if kind == "recipe":
        raise ConfigError(f"'{reference}' is a recipe: a file to read, not a part to build")
    installed = catalogue()
    offer = installed.find(kind, reference.name)
    with traced(offer.plugin, f"build {kind} '{reference}'"):
        part = installed.load(offer)
        try:
            made = part(**_values(part, reference))
        except (ConfigError, ValueError) as error:
            raise ConfigError(f"{kind} '{reference}': {message(error)}") from error
        except (KeyboardInterrupt, PluginError):
            raise
        except BaseException as error:  # a stranger's code: it may raise anything
            told = f"{in_a_line(error)}{place_within(error, part.__module__)}"
            raise PluginError(f"{kind} '{reference}' cannot be made: {told}") from error
    object.__setattr__(made, "_origin", f"{kind} '{reference}' of plugin '{offer.plugin}'")
    return made


def read_recipe(name: str) -> dict[str, Any]:
    """The tables of a recipe, as TOML reads them.

    Raises:
        PluginError: nobody offers the recipe, several do, or its file cannot be read.
    """
    offer = catalogue().find("recipe", name)
    package, _, path = offer.component.target.partition(":")
    try:
        return tomllib.loads(files(package).joinpath(path).read_text(encoding="utf-8"))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a stranger's package: importing it may raise anything
        reason = in_a_line(error)
        raise PluginError(f"recipe '{offer}' ({offer.component.target}): {reason}") from error


def _values(part: type[Any], reference: Reference) -> dict[str, Any]:
    known = {option.name: option for option in options(part)}
    former = former_names({name: get_args(option.annotation) for name, option in known.items()})
    values = {}
    for name, text in under_todays_names("option", dict(reference.options), former).items():
        if name not in known:
            raise ConfigError(f"there is no option '{name}'{nearest(name, known)}")
        values[name] = convert(known[name], text)
    for option in known.values():
        if option.default is None and option.name not in values:
            raise ConfigError(f"option '{option.name}' must be given ({option.type})")
    return values
