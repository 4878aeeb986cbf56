"""What every part with options owes: they are frozen, documented, checked, and can be written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields
from inspect import getdoc
from typing import Any

from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.plugin.build import build
from pseudolabel_kit.plugin.options import Option, convert, options
from pseudolabel_kit.plugin.reference import Reference, parse
from pseudolabel_kit.testing.conformance import Conformance
from pseudolabel_kit.testing.fault import FaultError, require


class OptionConformance(Conformance):
    """Promises of a part whose fields are its options."""

    def test_its_options_are_frozen(self) -> None:
        """Options cannot change once the part is made."""
        part = self.part()
        for field in fields(part):
            try:
                setattr(part, field.name, getattr(part, field.name))
            except FrozenInstanceError:
                continue
            raise FaultError(
                f"option '{field.name}' can be assigned to",
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
        """A reference that spells out every option builds an equal part."""
        part = self.part()
        given = parse(self.reference)
        spelled = Reference(given.name, tuple(_spelled(part, given)))
        again = build(self.kind, str(spelled))
        require(
            again == part,
            f"'{spelled}' builds {again!r}, expected {part!r}",
            "keep the values of options as they were given; compute from them in properties",
        )

    def test_its_options_refuse_nonsense(self) -> None:
        """A value of the wrong type is refused in one line."""
        for option in options(type(self.part())):
            if "str" in option.type.split("|"):
                continue
            try:
                convert(option, "nonsense?")
            except ConfigError:
                continue
            raise FaultError(
                f"option '{option.name}' takes 'nonsense?' for {option.type}",
                "annotate it: Annotated[float, Field(ge=0)], Literal['a', 'b'], int",
            )


def _spelled(part: Any, given: Reference) -> Iterator[tuple[str, str]]:
    """Every option with the text that means its value."""
    texts = dict(given.options)
    for option in options(type(part)):
        text = texts.get(option.name, option.default)
        if text is not None and _says(option, text):
            yield option.name, text


def _says(option: Option, text: str) -> bool:
    """Whether a text can stand in a reference, and a default is one that its type allows."""
    if ":" in text or "," in text:
        return False
    try:
        convert(option, text)
    except ConfigError as error:
        raise FaultError(
            f"the default of option '{option.name}' is refused: {error}",
            "make the default one of the values that the annotation allows",
        ) from error
    return True
