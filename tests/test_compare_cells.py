from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny import tiny

from pseudolabel_kit.compare.cells import Cell, cells, refuse_changed
from pseudolabel_kit.compare.spec import Spec, spec_of
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.errors import ConfigError


@pytest.fixture
def spec() -> Spec:
    return spec_of(["calibrated", "calibrated-paper"]).changed(seeds=(0, 3), split="val")


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell(row="A", seed=0, config=tiny(), split="val", folder=tmp_path / "a" / "seed0")


def test_the_first_seed_of_every_row_comes_before_the_second(spec: Spec, tmp_path: Path) -> None:
    found = cells(spec, tmp_path)
    assert [str(cell.folder.relative_to(tmp_path)) for cell in found] == [
        "calibrated/seed0",
        "calibrated-paper/seed0",
        "calibrated/seed3",
        "calibrated-paper/seed3",
    ]
    assert [cell.config.train.seed for cell in found] == [0, 0, 3, 3]
    assert found[3].config == spec.config(spec.rows[1], 3)
    assert {cell.split for cell in found} == {"val"}
    assert str(found[1]) == "calibrated-paper, seed 0"


def test_a_cell_is_finished_when_its_run_has_ended_and_was_measured(cell: Cell) -> None:
    assert (cell.begun, cell.trained, cell.finished) == (False, False, False)
    RunFolder(cell.folder).create(cell.config, overwrite=False)
    assert (cell.begun, cell.trained, cell.finished) == (True, False, False)
    for name in ("report.html", "evaluation-test.json", "evaluation-val.json"):
        (cell.folder / name).touch()
    assert (cell.trained, cell.finished) == (True, False)
    (cell.folder / "evaluation-val.npz").touch()
    assert cell.finished
    cell.fail("its report could not be written")
    assert not cell.finished


def test_a_failure_lies_beside_the_run_until_it_is_forgotten(cell: Cell) -> None:
    assert cell.failure is None
    cell.fail("no reason at all")
    assert cell.failure == "no reason at all"
    assert (cell.folder.parent / "seed0.failed.json").read_text() == (
        '{"reason": "no reason at all"}\n'
    )
    cell.forget_failure()
    assert cell.failure is None
    assert cell.log == cell.folder.parent / "seed0.log"


def test_a_run_of_another_configuration_is_never_taken_for_this_one(
    cell: Cell, tmp_path: Path
) -> None:
    refuse_changed([cell])
    RunFolder(cell.folder).create(tiny({"train": {"ema": 0.5}}), overwrite=False)
    assert cell.difference() == "train.ema = 0.5"
    complaint = f"{cell.folder}: was trained with train.ema = 0.5, which 'A' no longer says"
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        refuse_changed([cell])
    RunFolder(cell.folder).create(cell.config, overwrite=True)
    assert cell.difference() is None
