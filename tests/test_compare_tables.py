from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from comparison_folder import MEASURES, make_comparison, make_spec
from rich.console import Console

from pseudolabel_kit.compare.cells import cells
from pseudolabel_kit.compare.results import Comparison, collect
from pseudolabel_kit.compare.tables import terminal

NAMES = (
    *("SegNet (baseline)", "U-Net", "JCS", "PseudoSeg", "MultiMix", "Ours, supervised"),
    "Ours, semi-supervised, with the longest of all names",
)


def printed(comparison: Comparison, width: int = 120) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(terminal(comparison))
    return file.getvalue()


def test_seven_rows_with_four_measures_fit_a_terminal(tmp_path: Path) -> None:
    rows = [{"name": name, "note": "semi-supervised"} for name in NAMES]
    skills = {name: 0.5 + 0.04 * i for i, name in enumerate(NAMES)}
    text = printed(make_comparison(tmp_path, make_spec(rows, seeds=2), skills))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 120
    assert "…" not in text
    (head,) = [line for line in lines if "Dice, pooled" in line]
    assert all(title in head for title in ("Dice, pooled", "Dice, per patient", "Accuracy", "AUC"))
    assert "★" in text
    assert all(name.split()[0] in text for name in NAMES)


@pytest.mark.parametrize(
    ("width", "abreast"), [(40, [1] * 5), (80, [2, 2, 1]), (120, [3, 2]), (200, [5])]
)
def test_as_many_measures_stand_abreast_as_fit(
    width: int, abreast: list[int], tmp_path: Path
) -> None:
    names = ["SegNet", "Ours, semi-supervised, no pseudo labels"]
    spec = make_spec(names, seeds=2, measures=(*MEASURES, "false_positive_share"))
    found = make_comparison(tmp_path, spec, dict(zip(names, (0.5, 0.6), strict=True)))
    lines = printed(found, width).splitlines()
    assert max(map(len, lines)) <= width
    whole = [len(re.findall(r"\[[+−]?\.\d{3}, [+−]?\.\d{3}\]", line)) for line in lines]
    assert [count for count in whole if count] == abreast, "no interval is broken"


def test_every_table_of_measures_says_which_split_it_judges(tmp_path: Path) -> None:
    spec = make_spec(["a", "b"], split="unlabelled")
    lines = printed(make_comparison(tmp_path, spec, {"a": 0.5, "b": 0.7}), 50).splitlines()
    heads = [line for line in lines if any(w in line for w in ("Dice", "Accuracy", "AUC"))]
    assert len(heads) > 1
    assert all(line.startswith("  on unlabelled ") for line in heads)


def test_differences_stand_beneath_and_costs_apart(tmp_path: Path) -> None:
    text = printed(make_comparison(tmp_path, make_spec(["a", "b"]), {"a": 0.5, "b": 0.7}))
    assert "+.19" in text
    assert "[+.1" in text
    assert "Differences are from a" in text
    assert "over patients" in text
    assert "1 min 45 s" in text
    assert "10 M" in text


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    spec = make_spec(["a", "b", "c"], seeds=2)
    make_comparison(tmp_path, spec, {"a": 0.5, "b": 0.7}, b="classes")
    by_name = {(cell.row, cell.seed): cell for cell in cells(spec, tmp_path)}
    by_name["a", 1].fail("the loss is not finite")
    text = printed(collect(spec, tmp_path))
    assert "failed: a, seed 1: the loss is not finite" in text
    assert "not run yet: c seed 0, c seed 1" in text
    assert "b does not segment" in text
    assert "1 of 2 seeds" in text
    assert "1 pair" in text
    assert "(up to 2)" in text
    assert "No row is marked where rows have different seeds" in text
    assert "☆" not in text


def test_one_seed_gives_no_star(tmp_path: Path) -> None:
    found = make_comparison(tmp_path, make_spec(["a", "b"], seeds=1), {"a": 0.3, "b": 0.9})
    text = " ".join(printed(found).split())
    assert "☆" in text
    assert "With one seed no row is given ★." in text
    assert text.count("★") == 1


def test_nothing_at_all_can_be_shown(tmp_path: Path) -> None:
    text = printed(collect(make_spec(["a"], seeds=1), tmp_path))
    assert "not run yet: a seed 0" in text
    assert "0 of 1" in text
    assert "Differences" not in text
