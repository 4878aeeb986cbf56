from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from pseudolabel_kit.report.charts import POINTS, Chart, Line, smoothed, thinned


def chart(**changes: object) -> Chart:
    options: dict[str, object] = {
        "title": "Dice",
        "caption": 'Overlap, "1" is < perfect.',
        "lines": [Line(label="val", x=[1, 2, 3], y=[0.1, None, 0.5])],
        "until": 4,
    }
    return Chart(**{**options, **changes})  # type: ignore[arg-type]


def test_the_drawing_is_one_svg_element_in_the_colours_of_the_page() -> None:
    svg = str(chart(marks=[(2, "joins")], level=(0.3, "chance"), noisy=True).svg)
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    assert root.attrib["aria-label"] == 'Dice. Overlap, "1" is < perfect.'
    assert "width" not in root.attrib
    assert "var(--s0)" in svg
    assert "#0000" not in svg, "a placeholder was left"
    assert "<style" not in svg
    assert {"joins", "chance", "step"} <= {text.text for text in root.iter() if text.text}


def test_one_chart_is_drawn_the_same_every_time() -> None:
    assert chart().svg == chart().svg


def test_values_that_are_missing_are_left_out() -> None:
    lines = [
        Line(label="a", x=[1, 2, 3], y=[0.1, None, float("nan")]),
        Line(label="b", x=[1, 2], y=[None, None]),
        Line(label="c", x=[1], y=[1], colour=4),
        Line(label="d", x=[1], y=[1234.5]),
    ]
    assert chart(lines=lines).legend == [("a", 0, "0.1"), ("c", 4, "1"), ("d", 2, "1.23e+03")]


def test_more_series_than_colours_are_dashed() -> None:
    lines = [Line(label=str(i), x=[1, 2], y=[i, i]) for i in range(7)]
    drawn = str(chart(lines=lines).svg)
    first, last = (re.search(rf'class="series-{i}".*?</g>', drawn, re.DOTALL) for i in (0, 6))
    assert first is not None
    assert last is not None
    assert "var(--s0)" in first[0]
    assert "var(--s0)" in last[0]
    assert "stroke-dasharray" not in first[0]
    assert "stroke-dasharray" in last[0]


def test_a_band_is_shaded_around_its_curve() -> None:
    line = Line(label="a", x=[1, 2], y=[0.5, 0.6], band=[(0.4, 0.6), (0.5, 0.9)])
    svg = str(chart(lines=[line]).svg)
    assert svg.count('class="series-0"') == 2
    assert "opacity: 0.14" in svg
    assert ">0.75<" in svg, "the axis reaches as high as the band"


def test_a_chart_can_begin_where_its_curves_do() -> None:
    lines = [Line(label="a", x=[1, 2, 3], y=[0.81, 0.82, 0.83])]
    assert ">0.82<" in chart(lines=lines, from_zero=False).svg
    assert ">0.82<" not in chart(lines=lines).svg


def test_a_line_named_like_its_chart_is_not_named_twice() -> None:
    assert chart(title="val").legend == [("last", 0, "0.5")]


@pytest.mark.parametrize("values", [[0.0, 0.0], [5.0, 5.0], [1e-9, 2e-9], [-1.0, 1.0], [0.3]])
def test_any_values_can_be_drawn(values: list[float]) -> None:
    assert chart(lines=[Line(label="a", x=range(len(values)), y=values)]).svg


def test_long_curves_are_thinned_to_means() -> None:
    x = np.arange(10_000, dtype=np.float64)
    thin_x, thin_y = thinned(x, 2 * x)
    assert len(thin_x) == POINTS
    np.testing.assert_allclose(thin_y, 2 * thin_x)
    assert thin_y.mean() == pytest.approx(2 * x.mean(), rel=1e-3)


@pytest.mark.parametrize("length", [1, 2, 5, 400])
def test_smoothing_keeps_length_and_constants(length: int) -> None:
    np.testing.assert_allclose(smoothed(np.full(length, 3.0)), np.full(length, 3.0))
