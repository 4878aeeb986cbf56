"""`compare`: a specification in, a folder of runs and what they say of each other out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias

from pseudolabel_kit.compare.cells import Cell, Watcher, cells, renewed
from pseudolabel_kit.compare.report import write_all
from pseudolabel_kit.compare.results import Comparison, collect
from pseudolabel_kit.compare.spec import Spec
from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.data.source import open_store
from pseudolabel_kit.data.splits import Splits
from pseudolabel_kit.data.store import Store
from pseudolabel_kit.engine import strips
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.engine.provenance import require_same_data
from pseudolabel_kit.engine.signals import Stop, stop_requests
from pseudolabel_kit.errors import ConfigError, PluginError, RunError
from pseudolabel_kit.files import claimed, write_text

FILE = "compare.toml"
Data: TypeAlias = dict[DataConfig, tuple[Store, Splits]]


class Spread(Protocol):
    """Runs cells until all have ended or `stop` is asked for, as `pool.spread` does."""

    def __call__(self, cells: Sequence[Cell], *, watcher: Watcher, stop: Stop) -> None:
        """Tell the watcher of each."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a comparison ended.

    Attributes:
        comparison: what the cells say of each other; None where it was interrupted.
        interrupted: the signal that stopped it, or None.
    """

    comparison: Comparison | None = None
    interrupted: int | None = None


def compare(
    spec: Spec,
    out: Path,
    *,
    spread: Spread,
    watcher: Watcher,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Ended:
    """Run every cell that is not finished, then gather the results in `out`.

    Args:
        spec: what to compare; written to `out` as compare.toml, resolved.
        out: a new folder, or one that a comparison was begun in.
        spread: where the cells run.
        watcher: told of each cell.
        overwrite: train anew the runs in `out` whose configuration or data changed.
        progress: told (rows decoded, rows in all) where images have to be decoded first.

    Raises:
        ConfigError, PluginError, DataError: a row cannot be trained as it stands, or `out`
            holds runs of other configurations or data.
        RunError: `out` is no comparison's folder, another process works in it, or it cannot
            be written.
    """
    spec = spec.resolved()
    found = cells(spec, out)
    _refuse_foreign(out)
    with claimed(out, "another process is comparing in it"):
        found = renewed(found, Cell.difference, overwrite=overwrite)
        data = _rehearse(spec, found, progress)
        found = renewed(found, partial(_other_data, data), overwrite=overwrite)
        write_text(out / FILE, spec.to_toml())
        waiting = [cell for cell in found if not cell.finished]
        watcher.planned(len(waiting), len(found))
        with stop_requests() as stop:
            spread(waiting, watcher=watcher, stop=stop)
        if stop.number is not None:
            return Ended(interrupted=stop.number)
        comparison = collect(spec, out)
        write_all(comparison, out)
    return Ended(comparison=comparison)


def _rehearse(
    spec: Spec, found: Iterable[Cell], progress: Callable[[int, int], None] | None
) -> Data:
    """Build every row's parts and read its images, before hours go into the rows above it."""
    read: Data = {}
    seen = set[str]()
    for cell in found:
        if cell.row in seen:
            continue
        seen.add(cell.row)
        try:
            Method.build(cell.config.method)
            strips.explainers(cell.config)
        except (ConfigError, PluginError) as error:
            raise type(error)(f"{spec.where(cell.row)}: {error}") from error
        if cell.config.data not in read:
            read[cell.config.data] = open_store(cell.config.data, progress)
    return read


def _other_data(data: Data, cell: Cell) -> str | None:
    """How the images that a run was trained on are not those of now."""
    folder = RunFolder(cell.folder)
    if cell.anew or not (cell.trained or folder.trained()):
        return None
    try:
        require_same_data(folder, cell.config.data.source, *data[cell.config.data])
    except RunError as error:
        return str(error)
    return None


def _refuse_foreign(out: Path) -> None:
    """A folder that holds something else is left as it is.

    Raises:
        RunError: it does, it is a file, or it cannot be read.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise RunError(f"{out}: is a file; expected a folder for --out")
    try:
        held = any(not path.name.startswith(".") for path in out.iterdir())
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {error.strerror}") from None
    if held and not (out / FILE).exists():
        raise RunError(f"{out}: holds other files and no comparison; choose another --out")
