"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias

import typer


class Which(StrEnum):
    """Which weights of a run."""

    BEST = "best"
    LAST = "last"


Checkpoint: TypeAlias = Annotated[
    Which, typer.Option("--checkpoint", help="The best weights on val, or the last.")
]
