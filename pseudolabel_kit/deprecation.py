"""Names that changed: read under the old one for a version, with a warning that tells both."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pseudolabel_kit.errors import ConfigError

T = TypeVar("T")

_VERSION = re.compile(r"\d+(\.\d+)*")


@dataclass(frozen=True)
class Formerly:
    """What something was called; it stands beside the name of today.

    Of a part, in its plugin's light module:

        Component("fuser", "mine", "pack.mine:Mine", "Mine.", Formerly("ours", until="2.0"))

    Of an option, in the part's dataclass:

        sharpness: Annotated[float, Formerly("power", until="2.0")] = 2.0

    Attributes:
        name: the old name.
        until: the version of the same distribution in which the old name is gone.

    Raises:
        ValueError: the version is not numbers with dots between them.
    """

    name: str
    until: str

    def __post_init__(self) -> None:
        if not _VERSION.fullmatch(self.until):
            raise ValueError(f"until {self.until!r} is not a version such as '0.3'")


RENAMED: dict[str, dict[str, Formerly]] = {}
"""Public names of our modules that changed: module, name of today, what it was called."""


def warn_renamed(what: str, formerly: Formerly, today: str, stacklevel: int = 3) -> None:
    """Tell which name to write from now on: a `FutureWarning`, which users see by default."""
    warnings.warn(
        f"{what} '{formerly.name}' is now '{today}': the old name goes in version {formerly.until}",
        FutureWarning,
        stacklevel=stacklevel,
    )


def former_attribute(module: str, name: str) -> Any:
    """What the `__getattr__` of one of our modules answers.

    Raises:
        AttributeError: the module never had the name, or has it no more.
    """
    for today, formerly in RENAMED.get(module, {}).items():
        if formerly.name == name:
            warn_renamed(f"{module}:", formerly, today)
            return getattr(sys.modules[module], today)
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


def former_names(marks: Mapping[str, Iterable[object]]) -> dict[str, Formerly]:
    """What the names of today were called, of each name's marks in `Annotated`."""
    return {
        name: mark for name, found in marks.items() for mark in found if isinstance(mark, Formerly)
    }


def under_todays_names(
    what: str, values: Mapping[str, T], former: Mapping[str, Formerly]
) -> dict[str, T]:
    """`values` by the names of today, with a warning for each that came under its old one.

    Raises:
        ConfigError: a value is given under both names.
    """
    today = {formerly.name: name for name, formerly in former.items()}
    for old in today.keys() & values.keys():
        name = today[old]
        warn_renamed(what, former[name], name)
        if name in values:
            raise ConfigError(f"{what} '{name}' is given under its old name '{old}' too")
    return {today.get(name, name): value for name, value in values.items()}
