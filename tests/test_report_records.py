from __future__ import annotations

from pathlib import Path

import pytest
from report_folder import EPOCHS, STEPS, make_run

from pseudolabel_kit.errors import RunError
from pseudolabel_kit.report.records import read_records


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", images=2, side=16)


def test_everything_is_read(run: Path) -> None:
    records = read_records(run)
    assert records.name == "run"
    assert records.config["method"]["fuser"] == "sharpen"
    assert (len(records.steps), len(records.epochs)) == (STEPS, EPOCHS)
    assert records.audits[0]["when"] == "preflight"
    assert [e.split for e in records.evaluations] == ["test", "val"]
    assert records.strips["image"].shape == (2, 1, 16, 16)


def test_a_bare_run_is_empty_but_readable(run: Path) -> None:
    for path in run.iterdir():
        if path.name != "run.toml":
            path.unlink()
    records = read_records(run)
    assert [records.steps, records.evaluations] == [[], []]
    assert [records.strips, records.provenance] == [{}, {}]


def test_half_a_last_line_is_left_out(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')
    assert len(read_records(run).steps) == STEPS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.jsonl", '{"kind": "event"}\n{"kind": \n', r"metrics.jsonl, line 2: damaged"),
        ("provenance.json", "{", r"provenance.json: damaged"),
        ("run.toml", "a = = 1", r"run.toml: damaged"),
        (
            "evaluation-val.json",
            '{"split": "val"}',
            r"evaluation-val.json: damaged: measures: Field",
        ),
        ("evaluation-val.json", "{", r"evaluation-val.json: damaged: .*Invalid JSON"),
        ("strips.npz", "no archive", r"strips.npz: damaged"),
        ("run.toml", None, r"not a run: there is no run.toml in it"),
    ],
)
def test_what_is_damaged_is_named(run: Path, name: str, content: str | None, message: str) -> None:
    (run / name).unlink()
    if content is not None:
        (run / name).write_text(content)
    with pytest.raises(RunError, match=message) as caught:
        read_records(run)
    assert "\n" not in str(caught.value)


def test_arrays_that_would_run_code_are_refused(run: Path) -> None:
    import numpy as np

    np.savez(run / "strips.npz", names=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(RunError, match=r"strips\.npz: damaged"):
        read_records(run)
