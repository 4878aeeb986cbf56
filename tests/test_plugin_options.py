from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from pseudolabel_kit.errors import ConfigError, PluginError
from pseudolabel_kit.plugin.moment import Moment
from pseudolabel_kit.plugin.options import convert, options, to_text

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base.

    Attributes:
        steps: how many,
            at the least one.
        level: overridden below.
    """

    family: ClassVar[str] = "attribution"
    steps: Annotated[int, Field(ge=1)] = 8
    level: int | None = None


@dataclass(frozen=True, kw_only=True)
class Part(Base):
    """A part.

    Attributes:
        level: none = all.
        norm: eq. 9.
    """

    norm: Literal["pixel", "image-rms"] = "image-rms"
    ratios: tuple[float, float, float] = (0.3, 0.4, 0.4)
    names: tuple[str, ...] = field(default_factory=tuple)
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    ranges: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    clip: bool = False
    path: Path
    start: Moment = "10%"


KNOWN = {option.name: option for option in options(Part)}


def test_options_are_described_for_people() -> None:
    assert [(each.name, each.type, each.default, each.doc) for each in options(Part)] == [
        ("steps", "int >= 1", "8", "how many, at the least one."),
        ("level", "int|none", "none", "none = all."),
        ("norm", "pixel|image-rms", "image-rms", "eq. 9."),
        ("ratios", "float/float/float", "0.3/0.4/0.4", ""),
        ("names", "str/...", "", ""),
        ("share", "float > 0 and <= 1", "1.0", ""),
        ("ranges", "(float >= 0)/...|none", "none", ""),
        ("clip", "true|false", "false", ""),
        ("path", "Path", None, ""),
        ("start", "20%, 5epochs or 100steps", "10%", ""),
    ]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("steps", "64", 64),
        ("level", "none", None),
        ("level", "3", 3),
        ("norm", "pixel", "pixel"),
        ("ratios", "1/0/2.5", (1.0, 0.0, 2.5)),
        ("names", "a/none/b", ("a", "none", "b")),
        ("names", "", ()),
        ("ranges", "0.5", (0.5,)),
        ("ranges", "none", None),
        ("clip", "true", True),
        ("clip", "no", False),
        ("path", "a/b", Path("a/b")),
    ],
)
def test_text_becomes_the_value_of_its_type(name: str, text: str, value: Any) -> None:
    converted = convert(KNOWN[name], text)
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("steps", "0", "steps=0: expected int >= 1"),
        ("steps", "2.5", "steps=2.5: expected int >= 1"),
        ("steps", "none", "steps=none: expected int >= 1"),
        ("norm", "pixl", r"expected pixel\|image-rms \(did you mean 'pixel'\?\)"),
        ("ratios", "1/2", "expected float/float/float"),
        ("ratios", "a/b/c", "expected float/float/float"),
        ("share", "nan", "expected float > 0 and <= 1"),
        ("start", "10", "start=10: expected 20%, 5epochs or 100steps"),
        ("clip", "maybe", r"expected true\|false"),
    ],
)
def test_other_text_is_refused_with_what_was_expected(name: str, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        convert(KNOWN[name], text)


@given(st.tuples(*[st.floats(allow_nan=False)] * 3))
def test_a_value_survives_its_text(ratios: tuple[float, float, float]) -> None:
    assert convert(KNOWN["ratios"], to_text(ratios)) == ratios


def test_a_class_without_fields_is_refused() -> None:
    class Plain:
        pass

    with pytest.raises(PluginError, match="Plain is not a dataclass"):
        options(Plain)


@dataclass
class Hidden:
    weight: Decimal | None = None


def test_a_type_that_is_only_there_for_checking_is_explained() -> None:
    with pytest.raises(PluginError, match="'Decimal' is not defined; the types of options must"):
        options(Hidden)
