"""The cells of a comparison, row by seed: where each lies and how far it has come.

DIR/compare.toml                    the comparison, resolved; repeats it
DIR/<row>/seed<k>/                  an ordinary run folder
DIR/<row>/seed<k>.log               what its process said, tracebacks too
DIR/<row>/seed<k>.failed.json       {"reason": "..."}, while the cell is failed
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pseudolabel_kit.compare.spec import Row, Spec
from pseudolabel_kit.config import Config
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.files import write_text
from pseudolabel_kit.interfaces import Split


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A row with a seed: one run.

    Attributes:
        row: the row's name.
        split: the side of the split that it is measured on.
        folder: the run's; need not exist.
    """

    row: str
    seed: int
    config: Config
    split: Split
    folder: Path

    def __str__(self) -> str:
        return f"{self.row}, seed {self.seed}"

    @property
    def log(self) -> Path:
        """What the cell's process said."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def begun(self) -> bool:
        """Whether there is a run to go on with."""
        return RunFolder(self.folder).config_file.is_file()

    @property
    def trained(self) -> bool:
        """Whether the run has come to its end; the report is what a run writes last."""
        return RunFolder(self.folder).report.is_file()

    @property
    def finished(self) -> bool:
        """Whether the run has been measured too, after its pictures, and nothing went wrong."""
        files = (f"evaluation-{self.split}.json", f"evaluation-{self.split}.npz")
        written = all((self.folder / name).is_file() for name in files)
        return self.trained and written and self.failure is None

    @property
    def failure(self) -> str | None:
        """Why the cell failed when it was tried last, in one line."""
        if not self._failed.is_file():
            return None
        reason: str = json.loads(self._failed.read_text(encoding="utf-8"))["reason"]
        return reason

    def fail(self, reason: str) -> None:
        """Keep why it failed."""
        write_text(self._failed, json.dumps({"reason": reason}) + "\n")

    def forget_failure(self) -> None:
        """Nothing is known against it any more."""
        self._failed.unlink(missing_ok=True)

    def difference(self) -> str | None:
        """The first key in which the run that lies there differs, as "train.steps = 4"."""
        if not self.begun:
            return None
        here, there = self.config.model_dump(), RunFolder(self.folder).config().model_dump()
        return next(_differences(here, there), None)

    @property
    def _failed(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.failed.json")


class Watcher(Protocol):
    """Told of cells as they run."""

    def planned(self, waiting: int, total: int) -> None:
        """So many of all cells are not finished yet."""

    def began(self, cell: Cell) -> None:
        """It has a process."""

    def stepped(self, cell: Cell, step: int, steps: int) -> None:
        """Its run has taken `step` of `steps` steps."""

    def ended(self, cell: Cell, reason: str | None) -> None:
        """It is finished, or failed for a reason; one that was stopped is neither."""


def place(out: Path, row: Row, seed: int) -> Path:
    """The folder of a cell's run."""
    return out / row.slug / f"seed{seed}"


def cells(spec: Spec, out: Path) -> list[Cell]:
    """Every cell, the first seed of all rows before the second: rows can be compared early.

    Raises:
        ConfigError, PluginError: a row's configuration is wrong; the row is named.
    """
    return [
        Cell(
            row=row.name,
            seed=seed,
            config=spec.config(row, seed),
            split=spec.split,
            folder=place(out, row, seed),
        )
        for seed in spec.seeds
        for row in spec.rows
    ]


def refuse_changed(found: list[Cell]) -> None:
    """A run is never taken for what another configuration would have given.

    Raises:
        ConfigError: a run in the comparison's folder has another configuration.
    """
    for cell in found:
        if difference := cell.difference():
            raise ConfigError(
                f"{cell.folder}: was trained with {difference}, which '{cell.row}' no longer "
                "says; choose another --out, or train such runs anew with --overwrite"
            )


def _differences(here: Any, there: Any, key: str = "") -> Iterator[str]:
    if isinstance(here, dict) and isinstance(there, dict):
        for name in here:
            yield from _differences(here[name], there.get(name), f"{key}.{name}".lstrip("."))
    elif here != there:
        yield f"{key} = {there!r}"
