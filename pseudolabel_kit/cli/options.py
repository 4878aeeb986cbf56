"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias

import typer


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
