from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
from comparison_folder import make_cell, make_columns, make_comparison, make_spec
from matplotlib.figure import Figure
from test_report_page import Outline

from pseudolabel_kit.compare.cells import cells
from pseudolabel_kit.compare.gallery import gallery
from pseudolabel_kit.compare.plots import curves, sweeps
from pseudolabel_kit.compare.report import breakable, hashes, settings, write_all
from pseudolabel_kit.compare.results import collect
from pseudolabel_kit.compare.statistics import summarise
from pseudolabel_kit.report.canvas import drawing, dress
from pseudolabel_kit.report.records import read_arrays

NAMES = tuple(f"Method {letter}" for letter in "ABCDEFGHIJK")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of eleven rows with two seeds; K has failed and is missing."""
    out = tmp_path_factory.mktemp("whole")
    spec = make_spec(NAMES, seeds=2, note="A fabricated one.")
    skills = {name: 0.5 + 0.03 * i for i, name in enumerate(NAMES[:-1])}
    make_comparison(out, spec, skills, **{"Method B": "masks", "Method C": "classes"})
    next(c for c in cells(spec, out) if c.row == NAMES[-1]).fail("the loss is not finite")
    write_all(collect(spec, out), out)
    return out


@pytest.fixture(scope="module")
def page(whole: Path) -> str:
    return (whole / "report.html").read_text(encoding="utf-8")


def visible(page: str) -> str:
    """The page's words: no styles, no drawings, no pictures."""
    page = re.sub(r"<style.*?</style>|<svg.*?</svg>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_every_file_is_written_quickly(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_spec(["a", "b"]), {"a": 0.5, "b": 0.7})
    began = time.process_time()
    assert write_all(comparison, tmp_path) == tmp_path / "report.html"
    assert time.process_time() - began < 10
    written = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert written == {"report.html", "comparison.csv", "comparison.json", "comparison.tex"}


def test_the_page_holds_every_row_and_what_became_of_it(page: str) -> None:
    words = visible(page)
    assert all(name in words for name in NAMES)
    assert "Table IV &amp; friends" in page
    assert "A fabricated one." in words
    assert "Method K, seed 0: the loss is not finite" in words
    assert "Not run yet: Method K, seed 1" in words
    assert "Method B does not classify" in words
    assert "does not segment" in words
    assert "20 of 22" in words
    assert "Method on test Dice, pooled" in words
    assert "d1a7a" in words


def test_the_page_is_well_formed_and_loads_nothing(page: str) -> None:
    outline = Outline(page)
    assert outline.open == []
    assert [tag for tag in outline.unnamed if tag == "img"] == []
    sections = {"measures", "differences", "cost", "curves", "images", "settings", "again"}
    assert sections <= set(outline.ids)
    assert not outline.tags & {"script", "iframe", "object", "embed"}
    assert all(r.startswith(("#", "data:")) for r in outline.references)
    assert not re.search(r"@import|url\((?!#)", page)
    assert "#0000" not in page, "a placeholder colour was left"


def test_the_same_comparison_gives_the_same_page(whole: Path, page: str) -> None:
    spec = make_spec(NAMES, seeds=2, note="A fabricated one.")
    write_all(collect(spec, whole), whole)
    assert (whole / "report.html").read_text(encoding="utf-8") == page


def test_eleven_rows_can_be_told_apart_in_the_legend(page: str) -> None:
    swatches = re.findall(r'<svg class="swatch".*?</svg>', page, re.DOTALL)
    assert len(set(swatches)) == 11
    assert all(f'class="series-{i}"' in page for i in range(10))


def test_a_full_comparison_leaves_no_hole(tmp_path: Path) -> None:
    rows = [{"name": "a", "train": {"steps": 7}}, {"name": "b"}]
    comparison = make_comparison(tmp_path, make_spec(rows), {"a": 0.5, "b": 0.7})
    page = write_all(comparison, tmp_path).read_text(encoding="utf-8")
    assert 'class="missing"' not in page
    assert 'class="failed"' not in page


def test_a_comparison_that_has_not_begun_has_a_page(tmp_path: Path) -> None:
    comparison = collect(make_spec(["a", "b"], seeds=1), tmp_path)
    page = write_all(comparison, tmp_path).read_text(encoding="utf-8")
    for words in ("No differences", "No costs", "No curves", "No images", "None among the rows"):
        assert words in page
    assert Outline(page).open == []


def test_whatever_a_comparison_holds_is_escaped(tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>'
    rows = [{"name": evil, "note": evil}, {"name": "b", "x": 1}, {"name": "c", "x": 2}]
    spec = make_spec(rows, seeds=2, title=evil, note=evil, x_label=evil)
    make_comparison(tmp_path, spec, {evil: 0.5, "b": 0.6, "c": 0.7})
    cells(spec, tmp_path)[0].fail(evil)
    page = write_all(collect(spec, tmp_path), tmp_path).read_text(encoding="utf-8")
    assert "<script" not in page
    assert Outline(page).open == []


def test_no_image_is_named_since_its_name_may_name_a_patient(tmp_path: Path) -> None:
    spec = make_spec(["a"], seeds=1)
    make_comparison(tmp_path, spec, {"a": 0.5})
    path = tmp_path / "a" / "seed0" / "pictures-test.npz"
    arrays = read_arrays(path)
    arrays["names"] = np.array([f"Jane Doe/{i}.png" for i in range(len(arrays["names"]))])
    np.savez(path, **arrays)  # type: ignore[arg-type]
    write_all(collect(spec, tmp_path), tmp_path)
    for file in tmp_path.glob("*.*"):
        assert "Jane" not in file.read_text(encoding="utf-8"), file.name


def test_settings_that_differ_are_told_from_those_that_do_not(tmp_path: Path) -> None:
    rows = [{"name": "a"}, {"name": "b"}, {"name": "c", "loss": {"consistency": 5}}, {"name": "d"}]
    spec = make_spec(rows, seeds=2)
    make_comparison(tmp_path, spec, dict.fromkeys("abc", 0.5))
    next(cell for cell in cells(spec, tmp_path) if cell.row == "b").fail("so its seed is another")
    comparison = collect(spec, tmp_path)
    assert settings(comparison) == [
        ("loss.consistency", [("1.0", False), ("1.0", False), ("5.0", True), ("", False)])
    ]
    assert ("data hash", "d1a7a") in hashes(comparison)


def test_where_every_row_differs_none_is_unusual(tmp_path: Path) -> None:
    weights = {"a": 1, "b": 2, "c": 3, "d": 3}
    rows = [{"name": name, "loss": {"consistency": w}} for name, w in weights.items()]
    comparison = make_comparison(tmp_path, make_spec(rows, seeds=1), dict.fromkeys("abcd", 0.5))
    ((_, values),) = settings(comparison)
    assert not any(unusual for _, unusual in values), "two of four are no majority"


def test_a_setting_breaks_after_punctuation_and_never_in_a_number() -> None:
    assert breakable("net:width=0.0625,<b>") == "net:<wbr>width=<wbr>0.0625,<wbr>&lt;b&gt;"


@pytest.mark.parametrize("damage", ["bytes", "an array less", "a row less"])
def test_pictures_that_cannot_be_read_stop_nothing(tmp_path: Path, damage: str) -> None:
    comparison = make_comparison(tmp_path, make_spec(["a", "b"], seeds=1), {"a": 0.5, "b": 0.6})
    path = tmp_path / "a" / "seed0" / "pictures-test.npz"
    arrays = read_arrays(path)
    if damage == "bytes":
        path.write_bytes(b"{}\n")
    elif damage == "an array less":
        np.savez(path, **{n: a for n, a in arrays.items() if n != "truth"})  # type: ignore[arg-type]
    else:
        np.savez(path, **arrays | {"probability": arrays["probability"][1:]})  # type: ignore[arg-type]
    page = write_all(comparison, tmp_path).read_text(encoding="utf-8")
    assert visible(page).count("not readable") == 4, "each image of one row"
    assert "pickle" not in page
    assert Outline(page).open == []


def test_runs_without_pictures_have_a_page(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_spec(["a", "b"], seeds=1), {"a": 0.5, "b": 0.6})
    for name in "ab":
        path = tmp_path / name / "seed0" / "pictures-test.npz"
        none = {name: array[:0] for name, array in read_arrays(path).items()}
        np.savez(path, **none)  # type: ignore[arg-type]
        page = write_all(comparison, tmp_path).read_text(encoding="utf-8")
        assert ("No images" in page) == (name == "b"), "one row's pictures are enough"


def test_a_picture_is_marked_from_half_on(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_spec(["a"], seeds=1), {"a": 0.5})
    path = tmp_path / "a" / "seed0" / "pictures-test.npz"
    arrays = read_arrays(path)
    below = np.nextafter(np.float16(0.5), np.float16(0))
    arrays["probability"] = np.where(arrays["truth"] > 0.5, np.float16(0.5), below)
    np.savez(path, **arrays)  # type: ignore[arg-type]
    found = {picture.dice for *_, picture in gallery(comparison).images}
    assert found <= {1.0, None}
    assert 1.0 in found


def test_an_interval_stands_on_a_line_of_its_own(page: str) -> None:
    assert re.search(r"<small[^>]*>\+0\.\d{3}<br>\[[+−]\d", page)


def test_the_axes_figures_do_not_meet_in_the_corner() -> None:
    drawn: list[Figure] = []

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        dress(axes)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        drawn.append(figure)

    drawing(4, 3, "", paint)
    (axes,) = drawn[0].axes
    x, y = (axis.get_ticklabels()[0].get_window_extent() for axis in (axes.xaxis, axes.yaxis))
    assert y.y0 - x.y1 > 0, "one begins below the other"


def test_curves_are_means_over_seeds_in_a_band(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_spec(["a"], seeds=3), {"a": 0.6})
    (chart, *_) = curves(comparison)
    (line,) = chart.lines
    by_seed = [
        [epoch["measures"]["dice"] for epoch in found.epochs] for found in comparison.finished
    ]
    assert list(line.y) == pytest.approx(np.mean(by_seed, axis=0))
    low, high = zip(*line.band, strict=True)
    assert list(low) == pytest.approx(np.min(by_seed, axis=0))
    assert list(high) == pytest.approx(np.max(by_seed, axis=0))
    assert line.x == [50 * epoch for epoch in range(1, 13)]


def test_a_sweep_has_a_curve_and_a_line_for_who_stands_outside(tmp_path: Path) -> None:
    rows = [{"name": "without"}, *({"name": f"at {x}", "x": x} for x in (0, 20, 40))]
    skills = {"without": 0.5, "at 0": 0.55, "at 20": 0.7, "at 40": 0.6}
    spec = make_spec(rows, seeds=2, x_label="epoch of joining")
    comparison = make_comparison(tmp_path, spec, skills)
    drawn = sweeps(comparison, summarise(comparison))
    assert [title for title, _ in drawn] == ["Dice, pooled", "Dice, per patient", "Accuracy", "AUC"]
    assert "epoch of joining" in drawn[0][1]
    assert 'class="series-0"' in drawn[0][1], "the dashed line of the row without x"
    assert "stroke-dasharray" in drawn[0][1]
    assert "Sweep" in write_all(comparison, tmp_path).read_text(encoding="utf-8")


def test_rows_without_x_are_no_sweep(tmp_path: Path) -> None:
    spec = make_spec(["a", "b"], seeds=1)
    make_cell(cells(spec, tmp_path)[0], make_columns(0.5, 0))
    comparison = collect(spec, tmp_path)
    assert sweeps(comparison, summarise(comparison)) == []
