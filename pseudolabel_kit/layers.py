"""From layers to one configuration: recipe, TOML file and command line over the defaults.

A run's configuration is the defaults, overlaid by a recipe, then by a TOML file, then by the
command line; the result is written to `run.toml` and repeats the run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from pseudolabel_kit.config import Config
from pseudolabel_kit.deprecation import former_names, under_todays_names
from pseudolabel_kit.errors import ConfigError, nearest

Layer = Mapping[str, Any]


def resolve(*layers: Layer, origin: str = "the configuration") -> Config:
    """The defaults overlaid by each layer in turn.

    Raises:
        ConfigError: a key is unknown (the nearest is named) or a value is out of range.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = overlay(merged, layer)
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(error)}") from None


def overlay(base: Layer, top: Layer) -> dict[str, Any]:
    """`base` with the values of `top` over it, table by table, all by the keys of today.

    A length in epochs takes the place of one in steps, which would silence it.

    >>> overlay({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}})
    {'a': {'x': 1, 'y': 3}}
    >>> overlay({"train": {"steps": 100, "seed": 1}}, {"train": {"epochs": 5}})
    {'train': {'seed': 1, 'epochs': 5}}

    Raises:
        ConfigError: one layer gives a key under its old name too.
    """
    return _merged(_by_todays_keys(base), _by_todays_keys(top))


def _merged(base: Layer, top: Layer) -> dict[str, Any]:
    merged = dict(base)
    if "epochs" in top:
        merged.pop("steps", None)
    for key, value in top.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _by_todays_keys(layer: Layer) -> dict[str, Any]:
    """A key that was renamed says so as options of parts do: `Annotated[..., Formerly(...)]`."""
    today = dict(layer)
    for table, section in Config.model_fields.items():
        if isinstance(given := layer.get(table), Mapping):
            fields: Mapping[str, FieldInfo] = getattr(section.annotation, "model_fields", {})
            former = former_names({name: field.metadata for name, field in fields.items()})
            today[table] = under_todays_names(f"[{table}] key", given, former)
    return today


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ConfigError: the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def assignment(text: str) -> dict[str, Any]:
    """A layer from one `--set` of the command line; the value is TOML, or else a bare string.

    >>> assignment("train.steps=10")
    {'train': {'steps': 10}}
    >>> assignment("data.source=my data")
    {'data': {'source': 'my data'}}
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: expected key=value, as in --set train.steps=100")
    try:
        layer: Any = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        layer = value
    for name in reversed(key.strip().split(".")):
        layer = {name: layer}
    return dict(layer)


def keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Every dotted key of the tree."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"] if not isinstance(part, int))
    if first["type"] == "extra_forbidden":
        return f"there is no key '{key}'{_nearest_key(key)}"
    told = first["msg"].removeprefix("Value error, ")
    if first["type"] == "string_pattern_mismatch":  # a pattern is no answer to a person
        told = f"expected {_field(key).title}"
    return f"{key} = {first['input']!r}: {told[0].lower()}{told[1:]}"


def _field(key: str) -> FieldInfo:
    table, _, name = key.partition(".")
    section: Any = Config.model_fields[table].annotation
    found: FieldInfo = section.model_fields[name]
    return found


def _nearest_key(key: str) -> str:
    """A key of the same name in another table comes before one that is spelt alike."""
    name = key.rpartition(".")[2]
    elsewhere = [known for known in keys() if known.rpartition(".")[2] == name]
    if elsewhere:
        return f" (did you mean '{elsewhere[0]}'?)"
    return nearest(key, [*Config.model_fields, *keys()])
