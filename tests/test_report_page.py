from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report_folder import make_run, write_json

from pseudolabel_kit.errors import RunError
from pseudolabel_kit.report.page import write_report

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Outline(HTMLParser):
    """Checks nesting, and collects what a page refers to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.unnamed: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.references += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]
        if (tag == "img" and not given.get("alt")) or (tag == "svg" and "aria-label" not in given):
            self.unnamed.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a run that holds everything."""
    return page_of(make_run(tmp_path_factory.mktemp("whole") / "run"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that has logged one step, so that its page is quickly drawn."""
    run = make_run(tmp_path / "run", images=2, side=16)
    step = {"kind": "step", "step": 1, "lr": 1, "losses": {"segmentation": 1.0}, "weights": {}}
    (run / "metrics.jsonl").write_text(json.dumps(step) + "\n")
    return run


def page_of(run: Path) -> str:
    return write_report(run).read_text(encoding="utf-8")


def test_a_full_report_is_small_and_quick(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=6, side=224)
    began = time.perf_counter()
    path = write_report(run)
    assert time.perf_counter() - began < 5
    assert path == run / "report.html"
    assert path.stat().st_size < 3_000_000


def test_a_full_report_misses_nothing(whole: str) -> None:
    assert 'class="missing"' not in whole


def test_the_page_is_well_formed_and_named_for_those_who_do_not_see(whole: str) -> None:
    outline = Outline(whole)
    assert outline.open == []
    assert outline.unnamed == []
    sections = {"measures", "events", "labels", "images", "losses", "configuration"}
    assert sections <= set(outline.ids)
    targets = {r[1:] for r in outline.references if r.startswith("#")}
    assert targets <= set(outline.ids)


def test_the_page_loads_nothing(whole: str) -> None:
    outline = Outline(whole)
    assert not outline.tags & {"script", "iframe", "object", "embed"}
    assert all(r.startswith(("#", "data:")) for r in outline.references)
    assert not re.search(r"@import|url\((?!#)", whole)


def test_one_run_gives_one_page(run: Path) -> None:
    assert page_of(run) == page_of(run)


def test_whatever_a_run_holds_is_escaped(run: Path) -> None:
    evil = '"><script>alert(1)</script>'
    strips = dict(np.load(run / "strips.npz"))
    strips["names"] = np.array([evil, "b"])
    strips[f"evidence/{evil}"] = strips["decoder"]
    np.savez(run / "strips.npz", **strips)
    step = {"kind": "step", "step": 1, "lr": 1, "losses": {evil: 1.0}, "weights": {evil: 1}}
    event = {"kind": "event", "step": 1, "level": "warning", "text": evil}
    (run / "metrics.jsonl").write_text(f"{json.dumps(step)}\n{json.dumps(event)}\n")
    write_json(run / "provenance.json", {evil: evil})
    page = page_of(run)
    assert "<script" not in page
    assert Outline(page).open == []


def test_no_interval_is_announced_where_none_was_drawn(run: Path) -> None:
    assert "95% interval" in page_of(run)
    for path in run.glob("evaluation-*.json"):
        write_json(path, json.loads(path.read_text()) | {"intervals": {}})
    assert "95% interval" not in page_of(run)


def test_no_patient_is_named(run: Path) -> None:
    captions = json.loads((run / "strips.json").read_text())
    write_json(run / "strips.json", captions | {"patients": ["Jane Doe", "John Doe"]})
    page = page_of(run)
    assert "Jane Doe" not in page  # whole: pictures hold any three letters sooner or later
    assert "John Doe" not in page


def test_what_is_missing_is_said(whole: str, run: Path) -> None:
    for path in run.iterdir():
        if path.name != "run.toml":
            path.unlink()
    bare = page_of(run)
    for words in (
        "No final measures",
        "No curves of measures",
        "No pre-flight audit",
        "No audit over time",
        "No images",
        "No curves: no step",
        "No provenance",
    ):
        assert words in bare
        assert words not in whole


def test_a_supervised_run_is_not_blamed_for_having_no_labels(run: Path) -> None:
    toml = (run / "run.toml").read_text().replace('fuser = "sharpen"', 'fuser = "none"')
    (run / "run.toml").write_text(toml)
    (run / "metrics.jsonl").unlink()
    page = page_of(run)
    assert "makes no pseudo labels" in page
    assert "No pre-flight audit" not in page


def test_strips_need_no_captions(run: Path) -> None:
    (run / "strips.json").unlink()
    assert "class not known" in page_of(run)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a run: there is no run\.toml"):
        write_report(tmp_path)
