"""What is still to be chosen is chosen without a look at test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import PHANTOM, cache_folder

from pseudolabel_kit.audit.sweep import audit
from pseudolabel_kit.compare import worker
from pseudolabel_kit.compare.cells import Cell, cells
from pseudolabel_kit.compare.spec import read_spec
from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.data.phantom import Phantom
from pseudolabel_kit.data.source import open_store
from pseudolabel_kit.interfaces import Sample, Split

EXAMPLES = Path(__file__).parents[1] / "examples"
FINAL = {"evidence", "rivals", "table3", "table4"}  # methods as they are: nothing to choose
CHOOSING = {path.stem for path in EXAMPLES.glob("*.toml")} - FINAL
PACKED = ("images.npy", "masks.npy", "regions.npy")


class Watched:
    """A packed array that notes which of its rows are taken; read otherwise, it fails."""

    base = None

    def __init__(self, array: NDArray[Any], seen: set[int]) -> None:
        self._array, self._seen = array, seen
        self.shape, self.dtype = array.shape, array.dtype

    def take(self, rows: NDArray[np.int64], **options: Any) -> NDArray[Any]:
        self._seen.update(np.ravel(rows).tolist())
        return self._array.take(rows, **options)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The rows of the phantom whose image or mask was read since, decoded or not."""
    seen: set[int] = set()
    store, _ = open_store(DataConfig(source=PHANTOM, cache=cache_folder()))
    assert all(row.has_mask for row in store.rows)  # so that rows of masks are those of images
    load, decode = np.load, Phantom.read

    def watched(file: Any, *more: Any, **options: Any) -> Any:
        array = load(file, *more, **options)
        packed = str(getattr(file, "name", file)).endswith(PACKED)
        return Watched(array, seen) if packed else array

    def noted(self: Phantom, index: int) -> Sample:
        seen.add(index)
        return decode(self, index)

    monkeypatch.setattr(np, "load", watched)
    monkeypatch.setattr(Phantom, "read", noted)
    return seen


def done(out: Path, study: str, row: str, split: Split | None = None) -> Cell:
    """A cell of a comparison in its quick form, measured on its side or on another."""
    spec = (
        read_spec(EXAMPLES / f"{study}.toml")
        .quickened()
        .overlaid({"data": {"cache": cache_folder()}})
    )
    spec = spec.changed(split=split or spec.split)
    cell = next(cell for cell in cells(spec, out) if cell.row == row)
    assert worker._work(cell, lambda done, total: None) is None
    return cell


@pytest.mark.parametrize("study", sorted(CHOOSING))
def test_what_is_still_to_be_chosen_is_chosen_on_val(study: str) -> None:
    assert read_spec(EXAMPLES / f"{study}.toml").split == "val"


@pytest.mark.parametrize("study", sorted(FINAL))
def test_what_was_chosen_is_measured_on_test(study: str) -> None:
    assert read_spec(EXAMPLES / f"{study}.toml").split == "test"


@pytest.mark.parametrize(
    ("study", "row"),
    [
        ("localise", "maps taught, all class labels"),
        ("switches", "default"),
        ("defaults", "CAM loss"),
        ("regimes", "evidence, 10% labelled, all labels"),
    ],
)
def test_selection_never_reads_test(tmp_path: Path, read: set[int], study: str, row: str) -> None:
    cell = done(tmp_path, study, row)
    _, splits = open_store(cell.config.data)
    assert read & set(splits.val)
    assert read & set(splits.labelled)
    assert not read & set(splits.test), "test was read while options are still chosen"


def test_nor_does_an_audit_that_chooses(tmp_path: Path, read: set[int]) -> None:
    cell = done(tmp_path, "localise", "maps taught")
    audit(cell.folder, split="val", explainer="cam,margin-cam:pixels=0", fuser="sharpen,posterior")
    _, splits = open_store(cell.config.data)
    assert not read & set(splits.test)


def test_a_look_at_test_would_be_seen(tmp_path: Path, read: set[int]) -> None:
    cell = done(tmp_path, "switches", "no pseudo labels", "test")
    _, splits = open_store(cell.config.data)
    assert read & set(splits.test)
