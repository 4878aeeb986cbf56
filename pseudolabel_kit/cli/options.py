"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from pseudolabel_kit.plugin.component import Kind
    from pseudolabel_kit.scans.geometry import Triple


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

References: TypeAlias = Annotated[
    str | None, typer.Option(metavar="LIST", help="References; the run's own unless given.")
]
WindowText: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="HU that are shown: lung, mediastinal, LEVEL/WIDTH or percentile; "
        "default: as in training.",
    ),
]
Spacing: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="MM", help="Of the volume that is sliced; default: as in training."),
]


def spacing_of(text: str) -> Triple:
    """A spacing (x, y, z) in mm of one number or three.

    Raises:
        ConfigError: it is no such text, or out of range.
    """
    from pseudolabel_kit.errors import ConfigError

    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    x, y, z = values * 3 if len(values) == 1 else values if len(values) == 3 else (0, 0, 0)
    if not all(0.01 <= value <= 100 for value in (x, y, z)):
        raise ConfigError(f"--spacing {text}: expected mm, one number or three, as 1 or 1,1,2.5")
    return x, y, z


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
