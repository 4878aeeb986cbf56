"""Moments of a run, as configuration keys and the options of parts hold them."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

PATTERN = r"\d+(\.\d+)?(%|epochs?|steps?)"
WRITTEN = "20%, 5epochs or 100steps"

Moment: TypeAlias = Annotated[str, Field(pattern=f"^{PATTERN}$", title=WRITTEN)]
