from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from comparison_folder import make_cell, make_columns
from tiny import tiny

from pseudolabel_kit.compare.cells import Cell, cells, renewed
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


def test_a_cell_begins_and_is_trained(cell: Cell) -> None:
    assert (cell.begun, cell.trained, cell.finished) == (False, False, False)
    RunFolder(cell.folder).create(cell.config, overwrite=False)
    assert (cell.begun, cell.trained, cell.finished) == (True, False, False)
    (cell.folder / "report.html").touch()
    assert (cell.trained, cell.finished) == (True, False)


@pytest.fixture
def measured(cell: Cell) -> Cell:
    """Finished, with all that a run on val leaves."""
    make_cell(cell, make_columns(0.5, 0))
    return cell


MEASURED = ["evaluation-val.json", "evaluation-val.npz", "pictures-val.npz"]


@pytest.mark.parametrize("name", MEASURED)
def test_a_cell_is_finished_when_it_was_pictured_and_measured(measured: Cell, name: str) -> None:
    assert measured.finished
    assert not replace(measured, anew=True).finished
    measured.fail("its report could not be written")
    assert not measured.finished
    measured.forget_failure()
    (measured.folder / name).unlink()  # training itself measures val
    assert (measured.finished, measured.failure) == (False, None)


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize("share", [0, 0.5])
def test_what_is_damaged_is_neither_finished_nor_kept(
    measured: Cell, name: str, share: float
) -> None:
    path = measured.folder / name
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert not measured.finished
    assert measured.failure is not None
    assert measured.failure.startswith(f"{path}: damaged: ")
    measured.forget_failure()
    assert (measured.failure, path.exists()) == (None, False)
    assert sum((measured.folder / each).exists() for each in MEASURED) == 2


def test_a_byte_that_turned_is_damage(measured: Cell) -> None:
    path = measured.folder / "pictures-val.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert not measured.finished
    assert measured.failure is not None
    assert measured.failure.startswith(f"{path}: damaged: ")


def test_a_measurement_of_an_earlier_version_is_taken_anew(measured: Cell) -> None:
    path = measured.folder / "evaluation-val.npz"
    with np.load(path) as arrays:
        kept = {name: arrays[name] for name in arrays.files if name != "row"}
    np.savez(path, **kept)
    assert not measured.finished
    assert measured.failure == f"{path}: of an earlier version: there is no 'row' in it"
    measured.forget_failure()
    assert not path.exists()


def test_a_run_without_pictures_is_finished_like_any_other(measured: Cell) -> None:
    np.savez(measured.folder / "pictures-val.npz")
    assert measured.finished


def test_a_failure_lies_beside_the_run_until_it_is_forgotten(cell: Cell) -> None:
    assert cell.failure is None
    cell.fail("no reason at all")
    assert cell.failure == "no reason at all"
    assert (cell.folder.parent / "seed0.failed.json").read_text() == (
        '{"reason": "no reason at all"}\n'
    )
    cell.forget_failure()
    assert cell.failure is None
    assert cell.log == cell.folder.parent / "train-seed0.log"


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '"reason"', '{"reason', "\udcff"])
def test_a_failure_that_cannot_be_read_is_one_for_an_unknown_reason(cell: Cell, text: str) -> None:
    path = cell.folder.parent / "seed0.failed.json"
    path.parent.mkdir()
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert cell.failure == f"the reason is unknown: {path} cannot be read"
    cell.forget_failure()
    assert cell.failure is None


def test_a_run_of_another_configuration_is_never_taken_for_this_one(cell: Cell) -> None:
    assert renewed([cell], Cell.difference, overwrite=False) == [cell]
    RunFolder(cell.folder).create(tiny({"train": {"ema": 0.5}}), overwrite=False)
    difference = f"{cell.folder}: was trained with train.ema = 0.5, 'A' now says 0.9"
    assert cell.difference() == difference
    complaint = f"{difference}; choose another --out, or train such runs anew with --overwrite"
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        renewed([cell], Cell.difference, overwrite=False)
    (again,) = renewed([cell], Cell.difference, overwrite=True)
    assert again == replace(cell, anew=True)
    assert renewed([again], lambda _: None, overwrite=True) == [again]
    RunFolder(cell.folder).create(cell.config, overwrite=True)
    assert cell.difference() is None


@pytest.mark.parametrize("text", ["[train", "[train]\nstps = 3\n"])
def test_a_configuration_that_cannot_be_read_is_another(cell: Cell, text: str) -> None:
    path = cell.folder / "run.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        renewed([cell], Cell.difference, overwrite=False)
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).endswith("train such runs anew with --overwrite")
    assert [each.anew for each in renewed([cell], Cell.difference, overwrite=True)] == [True]
