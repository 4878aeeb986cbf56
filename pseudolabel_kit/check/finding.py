"""What a check says: a fault, how bad it is, the rows that show it, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
Case: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of fault.

    Attributes:
        kind: a name for programs, such as "copies-across-sides".
        severity: error = what is measured on this dataset will be wrong; warning = part of it
            probably is; note = worth a look.
        said: the fault, as a sentence's beginning.
        fix: what to do.
        cases: the rows of each; one, or several that belong together.
        told: what is known of each case beyond its rows, or "".
    """

    kind: str
    severity: Severity
    said: str
    fix: str
    cases: tuple[Case, ...]
    told: tuple[str, ...]

    @property
    def amount(self) -> str:
        """How many cases: "1 image", "12 pairs", "3 groups"."""
        kind = ("image", "pair", "group")[min(max(map(len, self.cases)), 3) - 1]
        return f"{len(self.cases)} {kind}{'s' if len(self.cases) > 1 else ''}"

    @property
    def rows(self) -> int:
        """How many rows are concerned."""
        return len({i for case in self.cases for i in case})
