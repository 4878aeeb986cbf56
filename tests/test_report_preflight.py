from __future__ import annotations

import json
from pathlib import Path

import pytest
from report_folder import make_run

from pseudolabel_kit.report.preflight import VERDICTS, preflight
from pseudolabel_kit.report.records import read_records


def found_in(folder: Path, record: dict[str, float | None], verdict: str | None) -> Path:
    run = make_run(folder / "run", images=1, side=16)
    line = {"kind": "audit", "when": "preflight", "step": 8, "rows": 5, "record": record}
    (run / "metrics.jsonl").write_text(json.dumps({**line, "verdict": verdict}) + "\n")
    return run


@pytest.mark.parametrize("word", ["better", "equal", "worse", "unknown"])
def test_the_verdict_is_said_in_words(tmp_path: Path, word: str) -> None:
    found = preflight(read_records(found_in(tmp_path, {}, word)))
    assert found is not None
    assert (found.word, found.sentence) == (word, VERDICTS[word])
    assert (found.step, found.rows, found.figures, found.evidence) == (8, 5, [], [])


def test_figures_stand_side_by_side_where_both_are_known(tmp_path: Path) -> None:
    record = {
        "label_dice": None, "decoder_dice": 0.5, "label_brier": 0.02, "decoder_brier": 0.04,
        "auroc/ig": 0.4, "auroc/caam": None,
    }  # fmt: skip
    found = preflight(read_records(found_in(tmp_path, record, "better")))
    assert found is not None
    assert found.figures == [("Brier score", "less is better", "0.02", "0.04")]
    assert found.evidence == [("ig", "0.4", "points away from the lesion")]


def test_a_run_without_one_has_none(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=1, side=16)
    (run / "metrics.jsonl").unlink()
    assert preflight(read_records(run)) is None
