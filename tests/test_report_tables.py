from __future__ import annotations

import io

from rich.console import Console

from pseudolabel_kit.config import MEASURES
from pseudolabel_kit.engine.evaluate import Evaluation
from pseudolabel_kit.report.tables import measures_table
from pseudolabel_kit.report.words import EVERY


def shown(*evaluations: Evaluation) -> str:
    buffer = io.StringIO()
    Console(file=buffer, width=110).print(measures_table(evaluations))
    return buffer.getvalue()


def test_values_stand_beside_their_intervals() -> None:
    test = Evaluation(
        split="test",
        measures={"dice": 0.6154, "auc": None},
        intervals={"dice": (0.55, 0.68)},
        rows=120,
        patients=14,
        step=9,
    )
    val = Evaluation(split="val", measures={"dice": 0.7}, intervals={}, rows=9, patients=0, step=9)
    text = shown(test, val)
    dice = next(line for line in text.splitlines() if "Dice, pooled" in line)
    assert "0.615  0.550 – 0.680" in dice
    assert "0.700" in dice
    auc = next(line for line in text.splitlines() if "AUC" in line)
    assert auc.count("–") == 2
    assert "test: 120 images, 14 patients" in text
    assert "val: 9 images" in text
    assert "95% intervals over patients" in text
    assert "95%" not in shown(val), "it has none"


def test_measures_have_the_names_that_the_configuration_knows() -> None:
    assert set(EVERY) == {*MEASURES, "false_positive_share"}


def test_every_measure_has_its_row() -> None:
    text = shown(Evaluation(split="val", measures={}, intervals={}, rows=1, patients=0, step=9))
    for word in EVERY.values():
        assert word.title in text
