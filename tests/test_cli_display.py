from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pseudolabel_kit.cli import display
from pseudolabel_kit.engine.run import Run, configure
from pseudolabel_kit.plugin.catalogue import Catalogue

RUN = Run(folder=Path("runs/[/b]"), config=configure(), steps=400)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a person at a terminal of 100 columns sees."""
    written = io.StringIO()
    terminal = Console(file=written, force_terminal=True, width=100, highlight=False)
    monkeypatch.setattr(display, "err", terminal)
    return written


def told(*events: tuple[str, dict[str, Any]]) -> None:
    observers = Catalogue().observers(display.Display())
    for name, event in events:
        getattr(observers, name)(RUN, **event)


def test_the_bar_shows_the_step_and_the_rate_and_no_sum_of_losses(screen: io.StringIO) -> None:
    step = {"losses": {"segmentation": 0.7, "classification": 1.1}}
    steps = [("step_ended", {"step": number, **step}) for number in (1, 2, 3)]
    told(("run_started", {}), *steps, ("run_ended", {"outcome": "finished"}))
    assert "3/400" in screen.getvalue()
    assert "steps/s" in screen.getvalue()
    assert "loss" not in screen.getvalue()


def test_an_epoch_is_one_line_with_its_step(screen: io.StringIO) -> None:
    measures = {"dice": 0.61549, "miou": None, "auc": 0.9, "sensitivity": 0.3}
    told(("epoch_ended", {"epoch": 3, "step": 90, "measures": measures}))
    told(("epoch_ended", {"epoch": 4, "step": 120, "measures": {}}))
    assert screen.getvalue() == (
        "epoch   3  step    90  val  dice 0.615  auc 0.900\nepoch   4  step   120  no val rows\n"
    )


def test_what_looks_like_markup_is_shown_as_it_is(screen: io.StringIO) -> None:
    told(
        ("run_started", {}),
        ("event_raised", {"step": 1, "level": "warning", "text": "'[/red]' [bold]joins[/bold]"}),
        ("run_ended", {"outcome": "finished"}),
    )
    assert "runs/[/b]  vgg-multiscale" in screen.getvalue()
    assert "'[/red]' [bold]joins[/bold]" in screen.getvalue()
