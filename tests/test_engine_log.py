from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from plk_support import make_batch
from tiny import records, tiny

from pseudolabel_kit.engine.checkpoint import Progress
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.log import SILENT_STEPS, Log
from pseudolabel_kit.engine.run import Run
from pseudolabel_kit.engine.step import Step
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.interfaces import PseudoLabels
from pseudolabel_kit.plugin.catalogue import catalogue
from pseudolabel_kit.plugin.hooks import hookimpl


class Heard:
    """An observer that writes down what it hears."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, Mapping[str, float]]] = []
        self.events: list[tuple[int, str]] = []

    @hookimpl
    def plk_step_ended(self, step: int, losses: Mapping[str, float]) -> None:
        self.steps.append((step, losses))

    @hookimpl
    def plk_event_raised(self, step: int, text: str) -> None:
        self.events.append((step, text))


def make_log(path: Path, *observers: object, **options: Any) -> Log:
    folder = RunFolder(path)
    config = tiny()
    folder.create(config, overwrite=True)
    run = Run(folder=path, config=config, steps=100)
    seen = catalogue().observers(*observers)
    return Log(run=run, folder=folder, observers=seen, progress=Progress(), **options)


def taken(log: Log, pseudo: PseudoLabels | None = None, **terms: float) -> None:
    step = Step(make_batch(1), None, {"a": 2.0})
    step.terms = {name: torch.tensor(value) for name, value in terms.items()}
    step.pseudo = pseudo
    log.progress.step += 1
    log.step(log.progress.step, 0.1, step)


def test_a_step_s_record_holds_every_term_its_weight_and_the_rate(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    label = PseudoLabels(
        mask=torch.tensor([[[[0.0, 1.0]]]]), mask_weight=torch.tensor([[[[0.0, 0.5]]]])
    )
    taken(log, a=0.5, b=0.25)
    taken(log, label, a=0.75)
    log.flush()
    assert records(tmp_path) == [
        {
            "kind": "step",
            "step": 1,
            "lr": 0.1,
            "weights": {"a": 2.0},
            "rows": {"labelled": 1, "unlabelled": 0},
            "losses": {"a": 0.5, "b": 0.25},
            "mean_label": None,
            "coverage": None,
        },
        {
            "kind": "step",
            "step": 2,
            "lr": 0.1,
            "weights": {"a": 2.0},
            "rows": {"labelled": 1, "unlabelled": 0},
            "losses": {"a": 0.75},
            "mean_label": 0.5,
            "coverage": 0.5,
        },
    ]


def test_steps_come_in_batches_and_in_order(tmp_path: Path) -> None:
    heard = Heard()
    log = make_log(tmp_path, heard, every=3)
    for _ in range(4):
        taken(log, a=1.0)
    assert [step for step, _ in heard.steps] == [1, 2, 3]
    log.event("info", "here")
    assert [step for step, _ in heard.steps] == [1, 2, 3, 4]
    log.flush()
    assert [record["kind"] for record in records(tmp_path)] == ["step"] * 4 + ["event"]
    assert heard.events == [(4, "here")]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_term_that_is_not_finite_ends_the_run_with_its_name_and_step(
    value: float, tmp_path: Path
) -> None:
    log = make_log(tmp_path)
    taken(log, a=1.0, b=1.0)
    taken(log, a=1.0, b=value)
    with pytest.raises(RunError, match=rf"loss term 'b' is {value} at step 2; lower optimiser"):
        log.flush()


def test_a_term_that_is_always_zero_is_warned_of_once(tmp_path: Path) -> None:
    heard = Heard()
    log = make_log(tmp_path, heard)
    for number in range(2 * SILENT_STEPS + 5):
        taken(log, a=1.0, silent=0.0, late=float(number > SILENT_STEPS - 3))
    log.flush()
    warning = f"loss term 'silent' was exactly 0 for its first {SILENT_STEPS} steps: "
    assert heard.events == [(SILENT_STEPS, warning + "it trains nothing")]
    (event,) = records(tmp_path, "event")
    assert (event["step"], event["level"]) == (SILENT_STEPS, "warning")


def test_a_term_that_was_once_alive_may_rest(tmp_path: Path) -> None:
    heard = Heard()
    log = make_log(tmp_path, heard)
    taken(log, a=1.0)
    for _ in range(2 * SILENT_STEPS):
        taken(log, a=0.0)
    log.flush()
    assert not heard.events


def test_silence_is_counted_on_after_a_resume(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    for _ in range(SILENT_STEPS - 1):
        taken(log, a=0.0)
    log.flush()
    log.folder.unlock()
    heard = Heard()
    later = make_log(tmp_path, heard)
    later.progress = Progress(step=log.progress.step, zero_for=dict(log.progress.zero_for))
    taken(later, a=0.0)
    later.flush()
    assert [step for step, _ in heard.events] == [SILENT_STEPS]


class Broken:
    @hookimpl
    def plk_step_ended(self, step: int) -> None:
        raise ZeroDivisionError("mine")


def test_an_observer_that_raises_is_switched_off_and_named_once(tmp_path: Path) -> None:
    heard = Heard()
    log = make_log(tmp_path, Broken(), heard)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(3):
            taken(log, a=1.0)
        log.flush()
    assert [step for step, _ in heard.steps] == [1, 2, 3]
    (warning,) = told
    assert "hook plk_step_ended" in str(warning.message)
    assert "ZeroDivisionError: mine" in str(warning.message)


def test_the_terms_of_all_processes_are_brought_in_one_transfer(tmp_path: Path) -> None:
    asked: list[int] = []

    def doubled(values: torch.Tensor) -> torch.Tensor:
        asked.append(len(values))
        return 2 * values

    log = make_log(tmp_path, mean_over_processes=doubled)
    taken(log, a=1.0, b=2.0)
    taken(log, a=3.0)
    log.flush()
    assert [record["losses"] for record in records(tmp_path)] == [{"a": 2.0, "b": 4.0}, {"a": 6.0}]
    assert asked == [3]


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    log = make_log(tmp_path, writes=False)
    taken(log, a=1.0)
    assert log.flush() == 0
    assert not log.folder.log_file.exists()
