from __future__ import annotations

import re
from pathlib import Path

import pytest
from comparison_folder import make_comparison, make_spec

from pseudolabel_kit.compare.maps import PALEST, STRONGEST, maps
from pseudolabel_kit.compare.results import Comparison
from pseudolabel_kit.compare.statistics import summarise


def pair(folder: Path, skill: float, **more: object) -> Comparison:
    """A map of one tile."""
    rows = [{"name": "a"}, {"name": "b", "x": 1, "y": 2, "minus": "a"}]
    return make_comparison(folder, make_spec(rows, seeds=1, **more), {"a": 0.5, "b": skill})


def test_what_is_not_told_apart_has_no_colour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comparison_folder.PATIENTS", 4)
    found = pair(tmp_path, skill=0.9)
    for _, drawn, _ in maps(found, summarise(found)):
        assert "var(--good)" not in drawn
        assert "var(--bad)" not in drawn
        assert drawn.count("stroke-dasharray") == 1
        assert "bold" not in drawn


def test_a_colour_means_the_same_on_every_map(tmp_path: Path) -> None:
    """The largest difference of a map that has only small ones is pale."""

    def strongest(gain: float) -> float:
        found = pair(tmp_path / f"{gain}", skill=0.5 + gain)
        _, drawn, _ = maps(found, summarise(found))[0]
        assert drawn.count("var(--good)") == 1
        return max(map(float, re.findall(r"opacity: ([\d.]+)", drawn)))

    assert strongest(0.4) == STRONGEST
    assert PALEST < strongest(0.02) < (PALEST + STRONGEST) / 2


def test_long_labels_stand_whole_and_nothing_is_small(tmp_path: Path) -> None:
    x_label = "share of images with a mask, of all images of all training patients"
    y_label = "share of the other images with a class label alone"
    found = pair(tmp_path, skill=0.6, x_label=x_label, y_label=y_label)
    _, drawn, inches = maps(found, summarise(found))[0]
    _, _, width, height = map(float, re.findall(r'viewBox="([^"]+)"', drawn)[0].split())
    assert width == pytest.approx(72 * inches)
    told = re.findall(r"<text[^>]*>([^<]+)</text>", drawn)
    assert set(f"{x_label} {y_label}".split()) <= set(" ".join(told).split())
    sizes = re.findall(r"font-size: ([\d.]+)px", drawn)
    assert len(sizes) == len(told)
    assert min(map(float, sizes)) == 9
    assert 9 * 0.6 * max(map(len, told)) < width, "in a font as wide as any"
    for place in re.findall(r"translate\(([-\d. ]+)\)", drawn):
        x, y = map(float, place.split())
        assert 0 <= x <= width
        assert 0 <= y <= height
