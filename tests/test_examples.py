"""The shipped comparisons, in their quick form."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_shell import in_turn
from markupsafe import Markup
from tiny import cache_folder

from pseudolabel_kit.cli import comparing
from pseudolabel_kit.cli.main import call
from pseudolabel_kit.compare.spec import Spec, read_spec
from pseudolabel_kit.config import Config
from pseudolabel_kit.data.source import open_dataset
from pseudolabel_kit.data.splits import assign
from pseudolabel_kit.engine import oddities
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.engine.setup import make_clock
from pseudolabel_kit.report import charts

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.toml"))


LONG = {"table5", "fig6", "rivals"}  # whose parts are trained by other tests


@pytest.fixture(
    params=[
        pytest.param(path, marks=pytest.mark.long) if path.stem in LONG else path
        for path in EXAMPLES
    ],
    ids=[path.stem for path in EXAMPLES],
)
def example(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_the_tables_and_the_figure_of_the_paper_are_there() -> None:
    paper = {"table3", "table4", "table5", "fig6", "rivals"}
    study = {"localise", "switches", "regimes", "control", "defaults", "evidence"}
    assert {path.stem for path in EXAMPLES} == paper | study


def test_the_quick_form_runs(
    example: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(comparing.SPREAD, comparing.HERE, in_turn)  # processes take longer to start
    monkeypatch.setattr(charts, "drawing", lambda *_: Markup("<svg/>"))  # in the report of each run
    line = ["compare", str(example), "--quick", "--out", str(tmp_path / "out")]
    code = call([*line, "--set", f"data.cache={cache_folder()}"])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    spec = read_spec(example)
    found = sorted(path.parent.name for path in tmp_path.glob("out/*/seed0"))
    assert found == sorted(row.slug for row in spec.rows)
    for row in spec.rows:
        assert row.name.split()[0] in shown.out
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    resolved = tomllib.loads((tmp_path / "out" / "compare.toml").read_text())
    assert [row["train"]["steps"] for row in resolved["row"]] == [4] * len(spec.rows)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_full_form_is_one_budget_for_every_row(example: Path) -> None:
    spec = read_spec(example)
    assert spec.seeds == (0, 1, 2)
    assert len({budget(spec, number) for number in range(len(spec.rows))}) == 1


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_no_row_names_a_part_that_never_joins(example: Path) -> None:
    spec = read_spec(example)
    late = [f"{row.name}: {each}" for row in spec.rows for each in told(spec.config(row, 0))]
    assert not late


def told(config: Config) -> Iterator[str]:
    """What a run would be warned of before its first step, of when its loss terms join."""
    method = Method.build(config.method)
    splits = assign(open_dataset(config.data).rows(), config.data, config.data.seed)
    labels = method.fuser.reads != "nothing" and config.loss.consistency > 0
    yield from oddities.joining(config, method, make_clock(config, splits), labels=labels)


def budget(spec: Spec, number: int) -> str:
    """What no row may have more of than another, and where its figures come from."""
    config = spec.config(spec.rows[number], 0)
    data = config.data.model_copy(update={"weak_labels": 0.0, "labelled": None})
    return f"{config.train} {config.optimiser} {config.augment} {config.evaluate} {data}"
