from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from comparison_folder import make_comparison, make_spec

from pseudolabel_kit.compare.cells import cells
from pseudolabel_kit.compare.export import to_csv, to_json
from pseudolabel_kit.compare.latex import to_latex
from pseudolabel_kit.compare.results import Comparison, collect
from pseudolabel_kit.compare.statistics import summarise

NAMES = ("R&D_1 at 5%", "U-Net", "JCS", "late")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Two seeds of four rows: one has no masks, one has failed once and is missing once."""
    out = tmp_path_factory.mktemp("comparison")
    rows = [{"name": name, "x": i, "note": "of 2015"} for i, name in enumerate(NAMES[:2])]
    spec = make_spec([*rows, *NAMES[2:]], seeds=2, against="U-Net")
    skills = dict(zip(NAMES, (0.5, 0.6, 0.7), strict=False))
    make_comparison(out, spec, skills, JCS="classes")
    next(cell for cell in cells(spec, out) if cell.row == "late").fail("no memory, at all")
    return collect(spec, out)


def test_the_csv_holds_every_figure_of_every_cell(comparison: Comparison) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    values = {(x["row"], int(x["seed"]), x["quantity"]): x["value"] for x in lines}
    assert len(values) == len(lines), "tidy: one line for each"
    for row in comparison.rows:
        for seed, found in row.finished.items():
            for name, value in found.measures.items():
                text = values[row.name, seed, name]
                assert (float(text) if text else None) == value
            assert found.cost is not None
            assert float(values[row.name, seed, "seconds"]) == found.cost.seconds
    assert values["JCS", 0, "dice"] == ""
    states = {(x["row"], x["seed"]): x["state"] for x in lines}
    assert (states["late", "0"], states["late", "1"]) == ("failed", "missing")
    assert {x["x"] for x in lines if x["row"] == "U-Net"} == {"1.0"}
    assert {x["note"] for x in lines if x["row"] == "U-Net"} == {"of 2015"}
    told = {(x["row"], x["seed"]): x["reason"] for x in lines}
    assert {x["split"] for x in lines} == {"test"}
    assert (told["late", "0"], told["late", "1"]) == ("no memory, at all", "")


def test_the_json_holds_figures_and_what_they_say(comparison: Comparison) -> None:
    summary = summarise(comparison)
    told: dict[str, Any] = json.loads(to_json(comparison, summary))
    assert [row["name"] for row in told["rows"]] == list(NAMES)
    assert told["rows"][0]["cells"][1]["data_hash"] == "d1a7a"
    for row, written in zip(comparison.rows, told["rows"], strict=True):
        for result, cell in zip(row.results, written["cells"], strict=True):
            assert (cell["seed"], cell["state"]) == (result.seed, result.state)
            if result.measured is not None:
                assert cell["measures"] == result.measured.measures
                assert len(cell["curve"]) == 12
    mean = summary.spreads["U-Net"]["dice"]
    assert told["rows"][1]["measures"]["dice"] == vars(mean)
    assert told["rows"][2]["lacks"] == "does not segment"
    assert told["rows"][3]["cells"][0]["reason"] == "no memory, at all"
    pairs = {(d["row"], d["minus"], d["measure"]): d for d in told["differences"]}
    one = summary.pairs["R&D_1 at 5%", "U-Net"]["dice"]
    assert pairs["R&D_1 at 5%", "U-Net", "dice"]["interval"] == list(one.interval or ())
    assert pairs["R&D_1 at 5%", "U-Net", "dice"]["mean"] == one.mean


def test_latex_is_escaped_and_well_formed(comparison: Comparison) -> None:
    text = to_latex(comparison, summarise(comparison))
    assert r"R\&D\_1 at 5\%" in text
    assert r"\caption{Table IV \& friends (on test)}" in text
    assert text.isascii()
    bare = re.sub(r"\\.", "", re.sub(r"%.*\n", "", text, count=1))
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not re.search(r"[_%#^~]", bare)
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    assert opened == ["table", "tabular"] * 2
    assert sorted(opened) == sorted(re.findall(r"\\end\{(\w+)\}", text))


def test_every_latex_line_has_as_many_cells_as_its_table(comparison: Comparison) -> None:
    tables = to_latex(comparison, summarise(comparison)).split(r"\begin{tabular}")[1:]
    for table in tables:
        columns = re.match(r"\{(l(r+))\}", table)
        assert columns is not None
        lines = [line for line in table.splitlines() if line.endswith(r"\\")]
        for line in lines:
            assert len(re.findall(r"(?<!\\)&", line)) == len(columns[2]), line
    assert [len(re.findall(r"\\\\\n", t)) for t in tables] == [1 + 4, 1 + 3]


def test_latex_marks_the_best_and_dashes_what_is_undefined(tmp_path: Path) -> None:
    spec = make_spec(["a", "b"])
    found = make_comparison(tmp_path, spec, {"a": 0.5, "b": 0.8}, a="masks")
    text = to_latex(found, summarise(found))
    (line,) = [line for line in text.splitlines() if line.startswith("b & ") and "min" in line]
    assert line.count(r"\textbf{") == 2, "of masks alone: nobody else classifies"
    (line,) = [line for line in text.splitlines() if line.startswith("a & ")]
    assert line.count("& --") == 2


def test_latex_says_of_how_many_seeds_a_figure_is(tmp_path: Path) -> None:
    spec = make_spec(["a", "b"], seeds=2)
    make_comparison(tmp_path, spec, {"a": 0.5, "b": 0.8})
    cells(spec, tmp_path)[0].fail("no memory")
    found = collect(spec, tmp_path)
    text = to_latex(found, summarise(found))
    measures, differences = text.split(r"\end{table}")[:2]
    assert measures.count("($n=1$)") == len(found.measures), "of the row with a failed seed"
    assert differences.count("($n=1$)") == len(found.measures), "of its pairs"


def test_without_a_finished_run_there_are_files_all_the_same(tmp_path: Path) -> None:
    empty = collect(make_spec(["a", "b"], seeds=1), tmp_path)
    assert len(to_csv(empty).splitlines()) == 3
    assert json.loads(to_json(empty, summarise(empty)))["differences"] == []
    assert to_latex(empty, summarise(empty)).count(r"\begin{table}") == 1
