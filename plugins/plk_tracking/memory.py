"""What a tracker must remember to go on with a run: a small file in the run's folder."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pseudolabel_kit.plugin import Run


@dataclass(frozen=True)
class Memory:
    """RUN/trackers.json: a table for each tracker."""

    path: Path

    @classmethod
    def of(cls, run: Run) -> Memory:
        """The memory of a run."""
        return cls(run.folder / "trackers.json")

    def recall(self, tracker: str) -> dict[str, Any]:
        """What a tracker kept; empty if nothing."""
        found = self._all().get(tracker, {})
        return dict(found)

    def keep(self, tracker: str, **facts: str) -> None:
        """Write a tracker's table in place of its old one."""
        aside = self.path.with_suffix(".json.part")
        aside.write_text(json.dumps(self._all() | {tracker: facts}) + "\n", encoding="utf-8")
        os.replace(aside, self.path)

    def _all(self) -> dict[str, Any]:
        if not self.path.is_file():
            return {}
        found: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        return found
