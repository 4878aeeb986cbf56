"""The cells of a comparison, row by seed: where each lies and how far it has come.

DIR/compare.toml                    the comparison, resolved; repeats it
DIR/<row>/seed<k>/                  an ordinary run folder
DIR/<row>/train-seed<k>.log         what its process said, tracebacks too
DIR/<row>/seed<k>.failed.json       {"reason": "..."}, while the cell is failed
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile, ZipFile

from pydantic import TypeAdapter

from pseudolabel_kit.compare.row import Row
from pseudolabel_kit.compare.spec import Spec
from pseudolabel_kit.config import Config
from pseudolabel_kit.engine.evaluate import Evaluation
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.scores import Columns
from pseudolabel_kit.errors import ConfigError, RunError
from pseudolabel_kit.files import write_text
from pseudolabel_kit.interfaces import Split
from pseudolabel_kit.report.records import parsed, read_text

_EVALUATION = TypeAdapter(Evaluation)
_FORMS = ("npz", "json")  # as they are written
_COLUMNS = frozenset(field.name for field in fields(Columns))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A row with a seed: one run.

    Attributes:
        row: the row's name.
        split: the side of the split that it is measured on.
        folder: the run's; need not exist.
        anew: whether the run that lies there counts for nothing and is to be replaced.
    """

    row: str
    seed: int
    config: Config
    split: Split
    folder: Path
    anew: bool = False

    def __str__(self) -> str:
        return f"{self.row}, seed {self.seed}"

    @property
    def log(self) -> Path:
        """What the cell's process said; DIR/*/seed* are the runs, and nothing beside them."""
        return self.folder.with_name(f"train-{self.folder.name}.log")

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
        """Whether the run has been pictured and measured too, and all of it can be read."""
        written = all(path.is_file() for path in self._measured)
        return not self.anew and self.trained and written and self.failure is None

    @property
    def failure(self) -> str | None:
        """Why the cell failed when it was tried last, or what of it is damaged, in one line."""
        if self._failed.is_file():
            return _reason(self._failed)
        return next(filter(None, map(_damage, self._measured)), None)

    def fail(self, reason: str) -> None:
        """Keep why it failed."""
        write_text(self._failed, json.dumps({"reason": reason}) + "\n")

    def forget_failure(self) -> None:
        """Nothing is known against it any more; what was damaged is gone."""
        self._failed.unlink(missing_ok=True)
        for path in filter(_damage, self._measured):
            path.unlink()

    def difference(self) -> str | None:
        """How the configuration of the run that lies there is not the cell's, in one line."""
        if not self.begun:
            return None
        try:
            there = RunFolder(self.folder).config().model_dump()
        except (ConfigError, RunError) as error:
            return str(error)
        for key, now, then in _differences(self.config.model_dump(), there):
            told = f"was trained with {key} = {then!r}, '{self.row}' now says {now!r}"
            return f"{self.folder}: {told}"
        return None

    @property
    def _measured(self) -> Sequence[Path]:
        """What is written when the run is over, in this order."""
        names = (f"pictures-{self.split}.npz", *(f"evaluation-{self.split}.{e}" for e in _FORMS))
        return [self.folder / name for name in names]

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


def renewed(
    found: Sequence[Cell], outdated: Callable[[Cell], str | None], *, overwrite: bool
) -> list[Cell]:
    """The cells, those with an outdated run marked to be trained anew.

    Args:
        found: all cells.
        outdated: why the run that lies in a cell's folder is not the cell's, if it is not.
        overwrite: otherwise it is refused: no run is taken for what another would have given.

    Raises:
        ConfigError: there is such a run, and no `overwrite`.
    """
    reasons = [outdated(cell) for cell in found]
    for reason in filter(None, reasons):
        if not overwrite:
            raise ConfigError(
                f"{reason}; choose another --out, or train such runs anew with --overwrite"
            )
    return [
        replace(cell, anew=cell.anew or reason is not None)
        for cell, reason in zip(found, reasons, strict=True)
    ]


def _reason(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["reason"])
    except (OSError, ValueError, LookupError, TypeError):
        return f"the reason is unknown: {path} cannot be read"


def _damage(path: Path) -> str | None:
    """Why a file cannot be read; one that is missing is not damaged."""
    if not path.is_file():
        return None
    try:
        if path.suffix == ".json":
            parsed(path, read_text(path), _EVALUATION.validate_json)
        else:
            _require_whole(path, _COLUMNS if path.stem.startswith("evaluation") else frozenset())
    except RunError as error:
        return str(error)
    return None


def _require_whole(archive: Path, needed: Set[str]) -> None:
    """Refuse an archive that lacks an array, or whose checksums are not those of its content."""
    try:
        with ZipFile(archive) as file:
            damaged = file.testzip()
            lacking = needed - {name.removesuffix(".npy") for name in file.namelist()}
    except (OSError, BadZipFile, zlib.error) as error:
        raise RunError(f"{archive}: damaged: {error}") from None
    if damaged:
        raise RunError(f"{archive}: damaged: {damaged}")
    if lacking:
        raise RunError(f"{archive}: of an earlier version: there is no '{min(lacking)}' in it")


def _differences(here: Any, there: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each key with its value here and there."""
    if isinstance(here, dict) and isinstance(there, dict):
        for name in here:
            yield from _differences(here[name], there.get(name), f"{key}.{name}".lstrip("."))
    elif here != there:
        yield key, here, there
