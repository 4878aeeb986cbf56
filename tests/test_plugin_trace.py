from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Site

from pseudolabel_kit.interfaces import PseudoLabels
from pseudolabel_kit.plugin import hookimpl
from pseudolabel_kit.plugin.blame import FaultError, RefusedError, blamed
from pseudolabel_kit.plugin.build import build
from pseudolabel_kit.plugin.catalogue import read
from pseudolabel_kit.plugin.hooks import Observers, manager
from pseudolabel_kit.plugin.trace import TRACE, short, traced

RUN: Any = SimpleNamespace(folder=Path("runs/first"))


class Listener:
    @hookimpl
    def plk_step_ended(self, step: int) -> None:
        if step == 2:
            raise ValueError("two")

    @hookimpl
    def plk_run_started(self) -> None:
        pass


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines on stderr, without their times; nothing may be on stdout."""
    found = capsys.readouterr()
    assert found.out == ""
    lines = found.err.splitlines()
    assert all(re.match(r"plk: trace: +\d+\.\d\d ms  ", line) for line in lines)
    return [line.partition(" ms  ")[2] for line in lines]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACE, "1")


@pytest.mark.usefixtures("on")
def test_every_call_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    observers = Observers(warn=lambda message: None)
    observers.add("tracker 'mine'", Listener())
    observers.run_started(RUN)
    observers.step_ended(RUN, 1, {"mask": 0.51234})
    observers.epoch_ended(RUN, 1, 1, {})
    observers.step_ended(RUN, 2, {})
    assert shown(capsys) == [
        "tracker 'mine': plk_run_started(run=first/)",
        "tracker 'mine': plk_step_ended(run=first/, step=1, losses={mask: 0.5123})",
        "tracker 'mine': plk_step_ended(run=first/, step=2, losses={}) raised ValueError",
    ]


@pytest.mark.usefixtures("on")
def test_plugins_that_are_asked_for_their_parts_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    read()
    lines = shown(capsys)
    assert "builtin: plk_components() -> 2 components" in lines
    assert "tracking: plk_components() -> 3 components" in lines


@pytest.mark.usefixtures("on")
def test_one_component_is_one(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.offer("a", "'fuser', 'mine', 'parts_a:Mine', 'Mine.'")
    read()
    assert "a: plk_components() -> 1 component" in shown(capsys)


@pytest.mark.usefixtures("on")
def test_a_block_is_told_how_ever_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with traced("mine", "import mine"):
        pass
    with pytest.raises(OSError, match="none"), traced("mine", "import mine"):
        raise OSError("none")
    assert shown(capsys) == [
        "mine: import mine",
        "mine: import mine raised OSError",
    ]


@pytest.mark.usefixtures("on")
def test_calls_of_parts_are_told_by_what_messages_call_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fuser = build("fuser", "none")
    shown(capsys)
    with blamed(fuser, "fuse"):
        pass
    place = r"loss raised ValueError: two \(.*test_plugin_trace.py"
    with pytest.raises(FaultError, match=place), blamed(Listener(), "loss"):
        Listener().plk_step_ended(2)
    with pytest.raises(FaultError, match="Listener: loss gave a list"), blamed(Listener(), "loss"):
        raise RefusedError("a list")
    assert shown(capsys) == [
        "fuser 'none' of plugin 'thresholds': fuse",
        "Listener: loss raised ValueError",
        "Listener: loss raised RefusedError",
    ]


@pytest.mark.parametrize(
    ("value", "lines"), [("1", 1), ("true", 1), ("ON", 1), ("yes", 1), ("", 0), ("0", 0), ("2", 0)]
)
def test_what_switches_it_on(
    value: str, lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(TRACE, value)
    Observers([("mine", manager("mine", Listener()))]).run_started(RUN)
    with traced("mine", "nothing"):
        pass
    assert len(shown(capsys)) == 2 * lines


def test_off_it_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TRACE, raising=False)
    watched = manager("mine", Listener())
    assert not hasattr(watched._inner_hookexec, "__closure__") or (
        watched._inner_hookexec.__closure__ is None
    )


def test_values_are_short() -> None:
    pseudo = PseudoLabels(mask=torch.zeros(2, 1, 3, 4), mask_weight=torch.zeros(2, 1, 3, 4))
    assert short(pseudo) == "PseudoLabels(mask (2, 1, 3, 4), mask_weight (2, 1, 3, 4))"
    assert short(torch.zeros(0)) == "(0)"
    assert short({str(n): n for n in range(9)}) == "{0: 0, 1: 1, 2: 2, 3: 3, …}"
    assert short("a\nb") == "'a b'"
    assert short(True) == "True"
    assert short(object()) == "object"


@pytest.mark.usefixtures("on")
def test_imports_of_plugins_and_the_making_of_parts_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    read()
    assert "builtin: import pseudolabel_kit.builtin" in shown(capsys)
    build("fuser", "none")
    assert "thresholds: build fuser 'none'" in shown(capsys)
