"""What a plugin offers: a kind, a name and where to find it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from pseudolabel_kit.deprecation import Formerly

Kind: TypeAlias = Literal[
    "backbone", "explainer", "fuser", "perturbation", "dataset", "recipe", "tracker"
]

KINDS: tuple[Kind, ...] = get_args(Kind)

CONTRACT = 1

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_CLASS = re.compile(rf"{MODULE.pattern}:[A-Za-z_]\w*")
_RESOURCE = re.compile(rf"{MODULE.pattern}:\w[\w.-]*(/\w[\w.-]*)*\.toml")


@dataclass(frozen=True)
class Component:
    """One part that a plugin offers; naming it imports nothing.

    Attributes:
        kind: what the part is for.
        name: what references call it: letters, digits, '.', '_' and '-'.
        target: "package.module:Class"; for a recipe "package:path/in/package.toml".
        summary: one line for lists, ending in a full stop.
        formerly: the name that it had, by which it is still found.

    Raises:
        ValueError: the kind is unknown, or the name or the target is malformed.
    """

    kind: Kind
    name: str
    target: str
    summary: str
    formerly: Formerly | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is none of {', '.join(KINDS)}")
        if not NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r} is not made of letters, digits, '.', '_', '-'")
        recipe = self.kind == "recipe"
        if not (_RESOURCE if recipe else _CLASS).fullmatch(self.target):
            expected = "package:path/in/package.toml" if recipe else "package.module:Class"
            raise ValueError(f"target {self.target!r} of {self.name!r} is not {expected!r}")
        if not self.summary or "\n" in self.summary:
            raise ValueError(f"the summary of {self.name!r} is not one line")
