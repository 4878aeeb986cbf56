from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from comparison_folder import MEASURES, make_cell, make_columns, make_comparison, make_spec

from pseudolabel_kit.compare.cells import cells
from pseudolabel_kit.compare.results import collect
from pseudolabel_kit.report.records import read_arrays


def test_finished_cells_are_read(tmp_path: Path) -> None:
    rows = [{"name": "U-Net", "note": "supervised"}, {"name": "Ours", "x": 20}]
    spec = make_spec(rows, seeds=2, against="Ours", note="words", x_label="epoch")
    comparison = make_comparison(tmp_path, spec, {"U-Net": 0.5, "Ours": 0.7})
    assert comparison.title == "Table IV & friends"
    assert (comparison.note, comparison.against, comparison.x_label) == ("words", "Ours", "epoch")
    assert (comparison.measures, comparison.seeds) == (MEASURES, (0, 1))
    first, second = comparison.rows
    assert (first.note, first.x, second.x) == ("supervised", None, 20)
    assert list(first.finished) == [0, 1]
    cell = second.finished[1]
    assert cell.measures["dice"] == pytest.approx(0.7, abs=0.05)
    np.testing.assert_array_equal(cell.columns.counts, make_columns(0.7, 1).counts)
    assert cell.cost is not None
    assert cell.cost.parameters == 14_000_000
    assert cell.config["train"]["seed"] == 1
    assert cell.provenance["data_hash"] == "d1a7a"
    assert len(cell.epochs) == 12


def test_cells_are_finished_failed_or_missing(tmp_path: Path) -> None:
    spec = make_spec(["a"])
    done, bad, _ = cells(spec, tmp_path)
    make_cell(done, make_columns(0.5, 0))
    make_cell(bad, make_columns(0.5, 1))
    bad.fail("RuntimeError: no memory")
    comparison = collect(spec, tmp_path)
    assert [r.state for r in comparison.rows[0].results] == ["finished", "failed", "missing"]
    assert comparison.unfinished("failed") == [("a", 1, "RuntimeError: no memory")]
    assert comparison.unfinished("missing") == [("a", 2, "")]
    assert len(comparison.finished) == 1


def test_an_empty_folder_is_a_comparison_that_has_not_begun(tmp_path: Path) -> None:
    comparison = collect(make_spec(["a", "b"]), tmp_path)
    assert comparison.finished == []
    assert comparison.against == "a"


def test_what_is_not_kept_is_not_missed(tmp_path: Path) -> None:
    spec = make_spec(["a"], seeds=1)
    make_comparison(tmp_path, spec, {"a": 0.5})
    for name in ("cost.json", "metrics.jsonl", "provenance.json"):
        (tmp_path / "a" / "seed0" / name).unlink()
    (found,) = collect(spec, tmp_path).finished
    assert (found.cost, found.epochs, found.provenance) == (None, [], {})


@pytest.mark.parametrize(
    "name", ["evaluation-test.json", "evaluation-test.npz", "cost.json", "metrics.jsonl"]
)
def test_a_damaged_run_counts_as_failed(tmp_path: Path, name: str) -> None:
    spec = make_spec(["a", "b"], seeds=1)
    make_comparison(tmp_path, spec, {"a": 0.5, "b": 0.5})
    (tmp_path / "a" / "seed0" / name).write_text("{\n")
    comparison = collect(spec, tmp_path)
    ((row, seed, reason),) = comparison.unfinished("failed")
    assert (row, seed) == ("a", 0)
    assert name in reason
    assert "damaged" in reason


def test_arrays_that_lack_one_are_damaged(tmp_path: Path) -> None:
    spec = make_spec(["a"], seeds=1)
    make_comparison(tmp_path, spec, {"a": 0.5})
    path = tmp_path / "a" / "seed0" / "evaluation-test.npz"
    whole = read_arrays(path)
    np.savez(path, **{name: array for name, array in whole.items() if name != "row"})  # type: ignore[arg-type]
    ((_, _, reason),) = collect(spec, tmp_path).unfinished("failed")
    assert reason == f"{path}: of an earlier version: there is no 'row' in it"
