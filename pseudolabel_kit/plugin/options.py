"""The fields of a part's dataclass as options: their text, their type, their default."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from pseudolabel_kit.errors import ConfigError, PluginError, nearest

_BOUNDS = {"gt": "> ", "ge": ">= ", "lt": "< ", "le": "<= ", "pattern": "like "}


@dataclass(frozen=True)
class Option:
    """One option of a part.

    Attributes:
        name: as it stands in a reference.
        type: what it accepts, for people: "int >= 1", "pixel|image-rms", "float/float/float".
        default: the text that means the default, or None where the option must be given.
        doc: its line in the docstring of the class or of a base.
        annotation: the resolved annotation that values are checked against.
    """

    name: str
    type: str
    default: str | None
    doc: str
    annotation: Any = dataclasses.field(repr=False)


def options(part: type[Any]) -> tuple[Option, ...]:
    """The options of a part, in the order of its fields.

    Raises:
        PluginError: the class is not a dataclass, or an annotation cannot be resolved.
    """
    if not dataclasses.is_dataclass(part):
        raise PluginError(f"{part.__name__} is not a dataclass: its fields would be its options")
    try:
        hints = get_type_hints(part, include_extras=True)
    except NameError as error:
        raise PluginError(
            f"{part.__name__}: {error}; the types of options must be imported, "
            "not only under TYPE_CHECKING"
        ) from error
    docs: dict[str, str] = {}
    for base in reversed(part.__mro__):
        docs |= _documented(cleandoc(base.__doc__ or ""))
    return tuple(
        Option(f.name, describe(hints[f.name]), _default(f), docs.get(f.name, ""), hints[f.name])
        for f in dataclasses.fields(part)
        if f.init
    )


def convert(option: Option, text: str) -> Any:
    """The value that a text means for an option.

    Raises:
        ConfigError: it is not of the option's type or out of its range.
    """
    value: Any = text
    if text == "none" and _accepts(option.annotation, types.NoneType):
        value = None
    elif _accepts(option.annotation, tuple):
        value = text.split("/") if text else []
    try:
        return TypeAdapter(option.annotation).validate_python(value)
    except ValidationError:
        hint = nearest(text, option.type.split("|"))
        raise ConfigError(f"{option.name}={text}: expected {option.type}{hint}") from None


def to_text(value: object) -> str:
    """The text that `convert` reads back.

    >>> to_text((0.3, 0.4)), to_text(True), to_text(None)
    ('0.3/0.4', 'true', 'none')
    """
    if isinstance(value, tuple | list):
        return "/".join(map(to_text, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)


def describe(annotation: Any) -> str:
    """An annotation for people; where a pydantic `Field` of it has a title, that.

    >>> describe(Literal["pixel", "paper"]), describe(int | None), describe(tuple[float, ...])
    ('pixel|paper', 'int|none', 'float/...')
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        titles = [getattr(mark, "title", None) for mark in arguments[1:]]
        if told := [title for title in titles if isinstance(title, str)]:
            return told[0]
        bounds = " and ".join(_bounds(arguments[1:]))
        return f"{describe(arguments[0])} {bounds}".strip()
    if origin is Literal:
        return "|".join(map(to_text, arguments))
    if origin in (typing.Union, types.UnionType):
        return "|".join(map(describe, arguments))
    if origin is tuple:
        return "/".join("..." if each is Ellipsis else _element(each) for each in arguments)
    if annotation in (bool, types.NoneType):
        return {bool: "true|false", types.NoneType: "none"}[annotation]
    return str(getattr(annotation, "__name__", annotation))


def _element(annotation: Any) -> str:
    text = describe(annotation)
    return f"({text})" if " " in text or "|" in text else text


def _bounds(metadata: tuple[Any, ...]) -> list[str]:
    """The limits in pydantic's `Field` or annotated-types' markers."""
    marks = [mark for each in metadata for mark in getattr(each, "metadata", [each])]
    return [
        f"{sign}{getattr(mark, name)}"
        for mark in marks
        for name, sign in _BOUNDS.items()
        if getattr(mark, name, None) is not None
    ]


def _accepts(annotation: Any, kind: type) -> bool:
    """Whether an annotation is `kind`, or a union or annotated form that holds it."""
    origin = get_origin(annotation)
    if origin is typing.Annotated:
        return _accepts(get_args(annotation)[0], kind)
    if origin in (typing.Union, types.UnionType):
        return any(_accepts(each, kind) for each in get_args(annotation))
    return annotation is kind or origin is kind


def _default(field: dataclasses.Field[Any]) -> str | None:
    if field.default is not dataclasses.MISSING:
        return to_text(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return to_text(field.default_factory())
    return None


def _documented(doc: str) -> dict[str, str]:
    """The lines "name: text" of the "Attributes:" or "Options:" section, continuations joined."""
    section = re.search(r"^(?:Attributes|Options):\n((?:(?: {4}.*)?(?:\n|\Z))+)", doc, re.MULTILINE)
    entries = re.findall(
        r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section.group(1) if section else "", re.MULTILINE
    )
    return {name: " ".join(text.split()) for name, text in entries}
