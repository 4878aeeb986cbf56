"""What every part with options owes: they are frozen, documented, checked, and can be written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields
from inspect import getdoc
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pseudolabel_kit.errors import ConfigError, UserError
from pseudolabel_kit.plugin.build import build
from pseudolabel_kit.plugin.options import Option, convert, options, to_text
from pseudolabel_kit.plugin.reference import Reference, parse
from pseudolabel_kit.testing.conformance import Conformance
from pseudolabel_kit.testing.fault import ConformanceError, require


class OptionConformance(Conformance):
    """Promises of a part whose fields are its options."""

    def test_its_options_are_frozen(self) -> None:
        """Options are fields that cannot change once the part is made."""
        part = self.part()
        for name in sorted(field.name for field in fields(part)):
            value = getattr(part, name)
            require(
                value.__hash__ is not None,
                f"option '{name}' holds a {type(value).__name__}, which can change",
                "annotate it as a tuple: tuple[float, ...]",
            )
            try:
                setattr(part, name, value)
            except FrozenInstanceError:
                continue
            raise ConformanceError(
                f"option '{name}' can be assigned to",
                "decorate the class with @dataclass(frozen=True, kw_only=True)",
            )

    def test_its_options_are_documented(self) -> None:
        """The class and every option have a line that says what they are for."""
        part = type(self.part())
        require(
            not (getdoc(part) or f"{part.__name__}(").startswith(f"{part.__name__}("),
            f"class {part.__name__} has no docstring",
            "say in its first line what it does: `plk plugins show` prints it",
        )
        for option in options(part):
            require(
                bool(option.doc),
                f"option '{option.name}' is not documented",
                f'add "{option.name}: what it does." under "Attributes:" in the class docstring',
            )

    def test_its_options_survive_being_written(self) -> None:
        """Every option holds what it was given, and a reference that spells out all is the same."""
        part = self.part()
        given = parse(self.reference)
        texts = dict(given.options)
        spelled = []
        for option in options(type(part)):
            text = texts.get(option.name, option.default)
            if text is None or ":" in text or "," in text:
                continue
            spelled.append((option.name, text))
            meant, holds = _meant(option, text), getattr(part, option.name)
            require(
                holds == meant,
                f"option '{option.name}' was given {meant!r} and holds {holds!r}",
                "keep options as they were given; compute from them in a property",
            )
        reference = str(Reference(given.name, tuple(spelled)))
        again = build(self.kind, reference)
        require(
            again == part,
            f"'{reference}' builds {again!r}, expected {part!r}",
            "let equal options make equal parts: leave __eq__ to the dataclass",
        )

    def test_its_options_refuse_nonsense(self) -> None:
        """Every option says by its annotation what it takes."""
        for option in options(type(self.part())):
            try:
                TypeAdapter(option.annotation).validate_python(object())
            except ValidationError:
                continue
            raise ConformanceError(
                f"option '{option.name}' takes anything: it is annotated {option.type}",
                "annotate it: Annotated[float, Field(ge=0)], Literal['a', 'b'], int",
            )

    def _variants(self) -> Iterator[tuple[str, str]]:
        """Options, each with a reference that gives it another value which it accepts."""
        part, given = self.part(), parse(self.reference)
        for option in options(type(part)):
            others = [each for each in given.options if each[0] != option.name]
            for text in _other_texts(option, getattr(part, option.name)):
                reference = str(Reference(given.name, (*others, (option.name, text))))
                with contextlib.suppress(UserError):
                    build(self.kind, reference)
                    yield option.name, reference
                    break


def _other_texts(option: Option, value: object) -> list[str]:
    """What might be another value of an option, of a number, a switch or one of some words."""
    if isinstance(value, bool):
        return [to_text(not value)]
    if isinstance(value, int | float):
        return [to_text(value + 1), to_text(value / 2), to_text(value - 1)]
    words = option.type.split("|")
    return [word for word in words if value in words and word != value]


def _meant(option: Option, text: str) -> Any:
    """What a text means for an option; a default must be one that its annotation allows."""
    try:
        return convert(option, text)
    except ConfigError as error:
        raise ConformanceError(
            f"the default of option '{option.name}' is refused: {error}",
            "make the default one of the values that the annotation allows",
        ) from error
