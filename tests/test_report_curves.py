from __future__ import annotations

from pathlib import Path

import pytest
from report_folder import STARTS, STEPS, make_run

from pseudolabel_kit.report import curves
from pseudolabel_kit.report.charts import Chart
from pseudolabel_kit.report.records import Records, read_records


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return read_records(make_run(tmp_path / "run", images=1, side=16))


def by_title(charts: list[Chart]) -> dict[str, Chart]:
    return {chart.title: chart for chart in charts}


def test_every_loss_term_has_its_chart_and_its_start(records: Records) -> None:
    charts = by_title(curves.losses(records))
    assert list(charts) == ["classification", "segmentation", "caam", "consistency.mask"]
    assert charts["segmentation"].marks == []
    assert charts["consistency.mask"].marks == [(STARTS + 1, "joins")]
    assert {chart.until for chart in charts.values()} == {STEPS}


def test_measures_of_one_kind_stand_together(records: Records) -> None:
    charts = by_title(curves.measures(records))
    assert list(charts) == ["Dice", "mIoU", "Classes", "False positives"]
    assert [line.label for line in charts["Dice"].lines] == ["pooled", "per image", "per patient"]


def test_the_audit_leaves_the_preflight_out(records: Records) -> None:
    charts = by_title(curves.audit(records))
    assert min(x for line in charts["Mean label"].lines for x in line.x) > STARTS
    assert [line.label for line in charts["Mean label"].drawn] == [
        "pseudo label",
        "decoder",
        "truth",
    ]
    assert [line.label for line in charts["Dice of the labels"].drawn] == [
        "pseudo label",
        "decoder",
    ]


def test_the_decoder_keeps_its_colour(records: Records) -> None:
    colours = {
        line.colour
        for chart in curves.audit(records)
        for line in chart.drawn
        if line.label == "decoder"
    }
    assert len(colours) == 1


def test_what_explainers_report_of_themselves_is_drawn(records: Records) -> None:
    chart = by_title(curves.audit(records))["Completeness error"]
    assert [line.label for line in chart.drawn] == ["ig"]


def test_an_empty_log_draws_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=1, side=16)
    (run / "metrics.jsonl").unlink()
    empty = read_records(run)
    for charts in (curves.losses, curves.schedule, curves.measures, curves.audit):
        assert charts(empty) == []
