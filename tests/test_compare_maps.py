from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from comparison_folder import make_comparison, make_spec
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from pydantic import ValidationError

from pseudolabel_kit.compare.maps import differences, maps
from pseudolabel_kit.compare.plots import sweeps
from pseudolabel_kit.compare.report import write_all
from pseudolabel_kit.compare.results import Comparison
from pseudolabel_kit.compare.statistics import summarise
from pseudolabel_kit.compare.words import signed
from pseudolabel_kit.report.canvas import BAD, GOOD

MASKS, LABELS = (5, 20, 50), (0, 100)


def regimes(folder: Path, **more: object) -> Comparison:
    """Two methods at three numbers of masks and two of class labels; the second gains by labels.

    More masks help the second one a little more.
    """
    rows, skills = [], {}
    for x, y in itertools.product(MASKS, LABELS):
        alone, ours = f"alone {x} {y}", f"ours {x} {y}"
        rows += [{"name": alone}, {"name": ours, "x": x, "y": y, "minus": alone}]
        skills |= {alone: 0.5, ours: (0.8 if y else 0.35) + x / 1000}
    spec = make_spec(rows, seeds=2, x_label="masks", y_label="class labels", **more)
    return make_comparison(folder, spec, skills)


def test_a_map_shows_each_row_against_the_one_it_names(tmp_path: Path) -> None:
    comparison = regimes(tmp_path)
    summary = summarise(comparison)
    places = differences(comparison, summary, "dice")
    assert set(places) == set(itertools.product(MASKS, LABELS))
    for (x, y), (found, base) in places.items():
        assert base == summary.spreads[f"alone {x:g} {y:g}"]["dice"].mean
        assert found == summary.pairs[f"ours {x:g} {y:g}", f"alone {x:g} {y:g}"]["dice"]
        assert (found.mean > 0) == (y == 100)
    measure, drawn, _ = maps(comparison, summary)[0]
    assert measure == "dice"
    assert drawn.count("var(--good)") == drawn.count("var(--bad)") == len(MASKS)
    for word in ("masks", "class labels", "5", "50", "100"):
        assert word in drawn
    assert len(re.findall(r"[+\u2212]0\.\d{3}<", drawn)) >= 6


@pytest.mark.parametrize("measure", ["dice", "false_positive_share"])
def test_each_tile_stands_at_its_place_in_the_colour_of_what_it_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measure: str
) -> None:
    """By labels alone the second method gains Dice and loses wrongly marked pixels."""
    comparison = regimes(tmp_path, measures=(measure,))
    summary, paints = summarise(comparison), []
    monkeypatch.setattr(
        "pseudolabel_kit.compare.maps.drawing", lambda *asked: paints.append(asked[-1])
    )
    maps(comparison, summary)
    figure, (paint,) = Figure(), paints
    paint(figure)
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["5", "20", "50"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["0", "100"]
    colours = {
        (MASKS[round(tile.get_x())], LABELS[round(tile.get_y())]): to_hex(tile.get_facecolor())
        for tile in axes.patches
    }
    assert colours == {place: GOOD if place[1] else BAD for place in colours}
    written = {text.get_position(): text.get_text() for text in axes.texts}
    for (x, y), (found, base) in differences(comparison, summary, measure).items():
        assert written[MASKS.index(x), LABELS.index(y) + 0.2] == signed(found.mean)
        assert written[MASKS.index(x), LABELS.index(y) - 0.3] == f"on {base:.3f}"
        assert colours[x, y] == (GOOD if y else BAD)


def test_the_page_holds_the_map_and_no_sweep(tmp_path: Path) -> None:
    comparison = regimes(tmp_path)
    assert sweeps(comparison, summarise(comparison)) == []
    page = write_all(comparison, tmp_path).read_text(encoding="utf-8")
    assert '<section id="map">' in page
    assert '<section id="sweep">' not in page
    assert "by masks and class labels" in page
    section = page[page.index('<section id="map">') : page.index('<section id="differences">')]
    for key in ("better", "worse", "not told apart"):
        assert f"</i> {key}</span>" in section


def test_rows_that_name_nobody_have_no_map(tmp_path: Path) -> None:
    spec = make_spec([{"name": "a"}, {"name": "b", "x": 1, "y": 2}], seeds=1)
    comparison = make_comparison(tmp_path, spec, {"a": 0.5, "b": 0.6})
    assert maps(comparison, summarise(comparison)) == []


def test_a_row_is_set_against_one_that_is_there_and_has_its_place() -> None:
    with pytest.raises(ValidationError, match=r"row 'b': minus: there is no row 'aa'.*'a'"):
        make_spec([{"name": "a"}, {"name": "b", "x": 1, "y": 2, "minus": "aa"}], seeds=1)
    twice = [{"name": n, "x": 1, "y": 2, "minus": "a"} for n in ("b", "c")]
    with pytest.raises(ValidationError, match="'b' and 'c' would share a place on the map"):
        make_spec([{"name": "a"}, *twice], seeds=1)
    with pytest.raises(ValidationError, match="minus needs x and y"):
        make_spec([{"name": "a"}, {"name": "b", "x": 1, "minus": "a"}], seeds=1)
