"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from pseudolabel_kit.plugin.component import Kind


class Side(StrEnum):
    """A side of the split."""

    LABELLED = "labelled"
    UNLABELLED = "unlabelled"
    VAL = "val"
    TEST = "test"


class Which(StrEnum):
    """Which weights of a run."""

    BEST = "best"
    LAST = "last"


Checkpoint: TypeAlias = Annotated[
    Which, typer.Option("--checkpoint", help="The best weights on val, or the last.")
]


def known_kind(word: str) -> Kind:
    """The kind of part that a word means.

    Raises:
        ConfigError: there is none; says what is nearest.
    """
    from pseudolabel_kit.errors import ConfigError, nearest
    from pseudolabel_kit.plugin.component import KINDS

    for kind in KINDS:
        if kind == word:
            return kind
    raise ConfigError(
        f"there is no kind '{word}'{nearest(word.lower(), KINDS)}; "
        f"expected one of {', '.join(KINDS)}"
    )
