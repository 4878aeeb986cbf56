"""What is still to be chosen is chosen without a look at test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny import cache_folder

from pseudolabel_kit.audit.sweep import audit
from pseudolabel_kit.compare import worker
from pseudolabel_kit.compare.cells import Cell, cells
from pseudolabel_kit.compare.spec import read_spec
from pseudolabel_kit.data.source import open_store
from pseudolabel_kit.data.store import Subset
from pseudolabel_kit.interfaces import Batch, Split

EXAMPLES = Path(__file__).parents[1] / "examples"
CHOOSING = ("localise", "switches", "regimes", "control")


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


@pytest.mark.parametrize("study", CHOOSING)
def test_what_is_still_to_be_chosen_is_chosen_on_val(study: str) -> None:
    assert read_spec(EXAMPLES / f"{study}.toml").split == "val"


def test_what_was_chosen_is_measured_on_test() -> None:
    assert read_spec(EXAMPLES / "evidence.toml").split == "test"


@pytest.mark.parametrize(
    ("study", "row"),
    [
        ("localise", "maps taught, all class labels"),
        ("switches", "default"),
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
