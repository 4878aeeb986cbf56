from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser_support import Tab, browser
from viewer_support import drawn

from pseudolabel_kit.viewer.page import page

COUNT = 14


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("viewer") / "case <b>.html"
    file.write_text(page(drawn("<script>", COUNT), run="first", step=7), encoding="utf-8")
    return file


@pytest.fixture
def tab(chromium: Any, path: Path) -> Iterator[Tab]:
    """The page; at the end nothing has gone wrong, and nothing was asked for but the page."""
    opened = Tab(chromium, path)
    yield opened
    assert opened.errors == []
    assert [url for url in opened.requests if not url.startswith("data:")] == [path.as_uri()]
    opened.page.close()


def test_the_middle_slice_is_shown_first_and_said(tab: Tab) -> None:
    assert tab.slice() == COUNT // 2 + 1
    assert tab.page.inner_text("h1") == "<script>"
    assert tab.page.inner_text("#said").startswith(f"Slice {COUNT // 2 + 1} of {COUNT} · ")
    assert "lesion" in tab.page.inner_text("#said")


MOVES = {
    **dict.fromkeys(("ArrowRight", "ArrowDown", "j"), 9),
    **dict.fromkeys(("ArrowLeft", "ArrowUp", "k"), 7),
    **dict.fromkeys(("Home", "PageUp"), 1),
    **dict.fromkeys(("End", "PageDown"), COUNT),
}


@pytest.mark.parametrize("focus", ["body", "#slice"])
def test_keys_move_wherever_the_focus_is(tab: Tab, focus: str) -> None:
    if focus != "body":
        tab.page.focus(focus)
    for key, expected in MOVES.items():
        tab.page.evaluate("go(first)")
        before = tab.pixels()
        tab.page.keyboard.press(key)
        assert tab.slice() == expected, key
        assert tab.pixels() != before


def test_the_slider_and_the_wheel_move(tab: Tab) -> None:
    tab.page.fill("#slice", "3")
    assert tab.slice() == 3
    tab.page.hover("#picture")
    tab.page.mouse.wheel(0, 100)
    tab.page.wait_for_function("document.getElementById('number').value.startsWith('4 ')")
    tab.page.mouse.wheel(0, -100)
    tab.page.wait_for_function("document.getElementById('number').value.startsWith('3 ')")


def test_overlays_are_switched_and_faded(tab: Tab) -> None:
    before = tab.pixels()
    boxes = tab.page.locator(".layer input[type=checkbox]")
    assert [box.is_checked() for box in boxes.all()] == [True, False, False, False, True, True]
    boxes.nth(1).check()
    both = tab.pixels()
    assert both != before
    tab.page.keyboard.press("2")
    assert tab.pixels() == before
    for number in range(1, 7):
        now = tab.pixels()
        tab.page.keyboard.press(str(number))
        assert tab.pixels() != now, number
    tab.page.locator(".fade").nth(1).fill("20")
    faint = tab.pixels()
    assert faint != both
    tab.page.keyboard.press("]")
    assert tab.pixels() != faint


def test_all_overlays_are_hidden_and_come_back(tab: Tab) -> None:
    before = tab.pixels()
    tab.page.keyboard.press("0")
    bare = tab.pixels()
    assert tab.page.locator(".layer input:checked").count() == 0
    tab.page.keyboard.press("0")
    assert tab.pixels() == before != bare


def test_a_fader_keeps_its_arrow_keys(tab: Tab) -> None:
    here = tab.slice()
    fader = tab.page.locator(".fade").first
    fader.focus()
    tab.page.keyboard.press("ArrowLeft")
    assert tab.slice() == here
    assert int(fader.input_value()) < 70
    tab.page.keyboard.press("j")
    assert tab.slice() == here + 1


def test_the_table_sorts_and_jumps(tab: Tab) -> None:
    tab.page.click("#table button[data-key=lesion]")
    first = tab.page.locator("#table tbody tr").first
    assert first.locator("th").inner_text() == str(COUNT)  # the largest lesion
    assert tab.page.get_attribute("#table th:has([data-key=lesion])", "aria-sort") == "descending"
    first.click()
    assert tab.slice() == COUNT
    assert first.get_attribute("aria-current") is not None
    tab.page.click("#table button[data-key=overlap]")
    told = tab.page.locator("#table tbody tr td:last-child").all_inner_texts()
    assert told[-1] == "–"  # undefined comes last
    assert told[:-1] == sorted(told[:-1])
    button = tab.page.locator("#table tbody button").first
    button.focus()
    tab.page.keyboard.press("Enter")
    assert str(tab.slice()) == button.inner_text()


def test_the_chart_is_clicked(tab: Tab) -> None:
    tab.slice()
    box = tab.page.locator("#strips svg").bounding_box()
    tab.page.locator("#strips svg").click(position={"x": box["width"] * 2.5 / COUNT, "y": 20})
    assert tab.slice() == 3


def test_figures_follow_the_slice(tab: Tab) -> None:
    tab.page.keyboard.press("Home")
    tab.slice()
    assert tab.page.locator(".layer small").first.inner_text() == "inside – · overlap –"
    assert tab.page.inner_text("#label") == "ill"
    tab.page.keyboard.press("End")
    tab.slice()
    assert "inside 0." in tab.page.locator(".layer small").first.inner_text()
    assert tab.page.inner_text("#label") == "not known"
    assert "not known" in tab.page.locator(".layer small").last.inner_text()
    bars = tab.page.locator(".classes b").all_inner_texts()
    assert sum(int(bar.rstrip("%")) for bar in bars) in (99, 100, 101)


def test_help_opens_and_closes_by_keys(tab: Tab) -> None:
    tab.slice()
    assert not tab.page.is_visible("#help")
    tab.page.keyboard.press("?")
    assert tab.page.is_visible("#help")
    tab.page.keyboard.press("Escape")
    assert not tab.page.is_visible("#help")
    tab.page.click("#ask")
    tab.page.click("#help button")
    assert not tab.page.is_visible("#help")


def test_every_control_is_reached_by_tab_and_has_a_name(tab: Tab) -> None:
    tab.slice()
    names = tab.page.evaluate(
        "() => [...document.querySelectorAll('button, input, [tabindex]')].map((each) =>"
        " (each.getAttribute('aria-label') || each.labels?.[0]?.innerText || each.innerText))"
    )
    assert all(name and name.strip() for name in names)
    seen = set()
    for _ in range(12):
        tab.page.keyboard.press("Tab")
        seen.add(tab.page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"ask", "slice", "fade"} <= seen


def test_a_page_without_masks_is_turned_too(chromium: Any, tmp_path: Path) -> None:
    full = drawn("case", COUNT)
    full.layers = [each for each in full.layers if each.name.startswith("evidence/")]
    none = {"lesion": None, "truth": None, "dice": None, "maps": {}}
    full.slices = [replace(each, **none, inside=None, overlap=None) for each in full.slices]
    file = tmp_path / "case.html"
    file.write_text(page(full, run="first", step=7), encoding="utf-8")
    opened = Tab(chromium, file)
    opened.page.keyboard.press("Home")
    assert opened.slice() == 1
    assert opened.page.locator(".layer small").all_inner_texts() == ["", ""]
    assert opened.errors == []
    opened.page.close()


def test_each_image_has_its_own_shape(chromium: Any, tmp_path: Path) -> None:
    study = drawn("case", 3)
    study.slices = [replace(s, aspect=a) for s, a in zip(study.slices, (1, 2, 0.5), strict=True)]
    file = tmp_path / "case.html"
    file.write_text(page(study, run="first", step=7), encoding="utf-8")
    opened = Tab(chromium, file)
    opened.page.keyboard.press("Home")
    for aspect in (1, 2, 0.5):
        opened.slice()
        box = opened.page.locator("#picture").bounding_box()
        assert box["width"] / box["height"] == pytest.approx(aspect, rel=0.01)
        opened.page.keyboard.press("ArrowRight")
    assert opened.errors == []
    opened.page.close()


@pytest.mark.parametrize("width", [800, 1200])
def test_nothing_is_cut_off(chromium: Any, path: Path, width: int) -> None:
    opened = Tab(chromium, path, width)
    opened.slice()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    opened.page.close()
