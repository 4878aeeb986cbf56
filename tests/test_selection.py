"""What is still to be chosen is chosen without a look at test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny import cache_folder

from pseudolabel_kit.compare import worker
from pseudolabel_kit.compare.cells import Cell, cells
from pseudolabel_kit.compare.spec import read_spec
from pseudolabel_kit.data.source import open_store
from pseudolabel_kit.data.store import Subset
from pseudolabel_kit.interfaces import Batch, Split

EVIDENCE = Path(__file__).parents[1] / "examples" / "evidence.toml"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The rows of the store whose pixels or truth were read since."""
    seen: set[int] = set()
    batch = Subset.batch

    def noted(self: Subset, positions: Sequence[int], *more: Any, **options: Any) -> Batch:
        seen.update(self.indices[int(i)] for i in positions)
        return batch(self, positions, *more, **options)

    monkeypatch.setattr(Subset, "batch", noted)
    return seen


def done(out: Path, row: str, split: Split) -> Cell:
    """A cell of the comparison in its quick form, measured on a side."""
    spec = read_spec(EVIDENCE).quickened().overlaid({"data": {"cache": cache_folder()}})
    spec = spec.changed(split=split)
    cell = next(cell for cell in cells(spec, out) if cell.row == row)
    assert worker._work(cell, lambda done, total: None) is None
    return cell


def test_the_study_of_evidence_chooses_on_val() -> None:
    assert read_spec(EVIDENCE).split == "val"


@pytest.mark.parametrize("row", ["sharpen, maps taught", "posterior at best Dice"])
def test_selection_never_reads_test(tmp_path: Path, read: set[int], row: str) -> None:
    cell = done(tmp_path, row, "val")
    _, splits = open_store(cell.config.data)
    assert read & set(splits.val)
    assert read & set(splits.labelled)
    assert not read & set(splits.test), "test was read while options are still chosen"


def test_a_look_at_test_would_be_seen(tmp_path: Path, read: set[int]) -> None:
    cell = done(tmp_path, "supervised", "test")
    _, splits = open_store(cell.config.data)
    assert read & set(splits.test)
