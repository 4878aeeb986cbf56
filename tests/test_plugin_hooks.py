from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.plugin import hookimpl
from pseudolabel_kit.plugin.catalogue import Catalogue
from pseudolabel_kit.plugin.hooks import HOOKS, Observers, manager

RUN: Any = SimpleNamespace(folder=Path("run"), config=None)


class Listener:
    """Remembers what it was told; an implementation need not take every argument."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    @hookimpl
    def plk_run_started(self, run: Any) -> None:
        self.heard.append(("started", run))

    @hookimpl
    def plk_step_ended(self, step: int, losses: Any) -> None:
        self.heard.append((step, losses))

    @hookimpl
    def plk_pseudo_labelled(self, pseudo: Any) -> None:
        self.heard.append(pseudo)

    @hookimpl
    def plk_epoch_ended(self, epoch: int, step: int, measures: Any) -> None:
        self.heard.append((epoch, step, measures))

    @hookimpl
    def plk_event_raised(self, level: str, text: str) -> None:
        self.heard.append((level, text))

    @hookimpl
    def plk_run_ended(self, outcome: str) -> None:
        self.heard.append(outcome)


class Faulty:
    def __init__(self) -> None:
        self.calls = 0

    @hookimpl
    def plk_step_ended(self) -> None:
        self.calls += 1
        raise ValueError("disk full")

    @hookimpl
    def plk_event_raised(self) -> None:
        self.calls += 100

    @hookimpl
    def plk_run_ended(self) -> None:
        self.calls += 10


def tell_all(observers: Observers) -> None:
    pseudo: Any = "pseudo labels"
    observers.run_started(RUN)
    observers.step_ended(RUN, 1, {"mask": 0.5})
    observers.pseudo_labelled(RUN, 1, pseudo)
    observers.epoch_ended(RUN, 1, step=30, measures={"dice": 0.6})
    observers.event_raised(RUN, 1, "warning", "the mean label drifts")
    observers.run_ended(RUN, "finished")


def test_every_event_arrives_once_with_what_it_tells() -> None:
    listener = Listener()
    tell_all(Observers([("listener", manager("listener", listener))]))
    assert listener.heard == [
        ("started", RUN),
        (1, {"mask": 0.5}),
        "pseudo labels",
        (1, 30, {"dice": 0.6}),
        ("warning", "the mean label drifts"),
        "finished",
    ]


def test_every_observing_hook_has_its_caller() -> None:
    own = {name for name in vars(Observers) if not name.startswith("_")} - {"add"}
    callers = {f"plk_{name}" for name in own}
    assert callers == set(HOOKS) - {"plk_components"}


def test_an_observer_that_raises_is_named_once_and_hears_but_the_end() -> None:
    faulty, listener, warnings = Faulty(), Listener(), list[str]()
    plugins: list[tuple[str, object]] = [("faulty", faulty), ("listener", listener)]
    observers = Observers([(name, manager(name, each)) for name, each in plugins], warnings.append)
    observers.step_ended(RUN, 1, {})
    observers.step_ended(RUN, 2, {})
    observers.event_raised(RUN, 2, "info", "joins")
    observers.run_ended(RUN, "finished")
    assert warnings == [
        "hook plk_step_ended of plugin 'faulty' is switched off, it raised ValueError: disk full"
    ]
    assert faulty.calls == 11
    assert listener.heard == [(1, {}), (2, {}), ("info", "joins"), "finished"]


def test_one_more_observer_is_told_under_the_name_it_is_given() -> None:
    warnings = list[str]()
    observers = Observers(warn=warnings.append)
    observers.add("tracker 'faulty:a=1' of plugin 'mine'", Faulty())
    observers.step_ended(RUN, 1, {})
    assert warnings == [
        "hook plk_step_ended of tracker 'faulty:a=1' of plugin 'mine' is switched off, "
        "it raised ValueError: disk full"
    ]
    with pytest.raises(PluginError, match="implements no hook"):
        observers.add("nobody", object())


def test_two_observers_of_one_name_are_both_told() -> None:
    first, second = Listener(), Listener()
    observers = Catalogue().observers(first, second)
    observers.run_ended(RUN, "failed")
    assert first.heard == second.heard == ["failed"]


def test_by_default_a_switched_off_hook_is_a_warning() -> None:
    observers = Observers([("faulty", manager("faulty", Faulty()))])
    with pytest.warns(RuntimeWarning, match="plk_step_ended of plugin 'faulty'") as caught:
        observers.step_ended(RUN, 1, {})
    assert caught[0].filename == __file__


def test_nobody_listening_is_no_work() -> None:
    tell_all(Observers())


def test_an_interrupt_in_a_hook_is_not_swallowed() -> None:
    class Impatient:
        @hookimpl
        def plk_run_started(self) -> None:
            raise KeyboardInterrupt

    observers = Observers([("impatient", manager("impatient", Impatient()))])
    with pytest.raises(KeyboardInterrupt):
        observers.run_started(RUN)


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit])
def test_a_hook_that_asks_to_exit_is_switched_off(kind: type[BaseException]) -> None:
    class Leaving:
        @hookimpl
        def plk_step_ended(self) -> None:
            raise kind(0)

    warnings = list[str]()
    Observers([("leaving", manager("leaving", Leaving()))], warnings.append).step_ended(RUN, 1, {})
    assert warnings[0].endswith(f"it raised {kind.__name__}: 0")


def test_a_hook_s_message_is_one_short_line() -> None:
    class Verbose:
        @hookimpl
        def plk_step_ended(self) -> None:
            raise ValueError("two\nlines " + 999 * "x")

    warnings = list[str]()
    Observers([("verbose", manager("verbose", Verbose()))], warnings.append).step_ended(RUN, 1, {})
    assert "ValueError: two lines xxx" in warnings[0]
    assert warnings[0].endswith("x…")
    assert len(warnings[0]) < 620


def test_what_a_hook_does_to_figures_is_its_own_affair() -> None:
    class Falsifying:
        @hookimpl
        def plk_step_ended(self, losses: Any) -> None:
            losses["mask"] = 0.0

        @hookimpl
        def plk_epoch_ended(self, measures: Any) -> None:
            measures.clear()

    listener, losses, measures = Listener(), {"mask": 0.5}, {"dice": 0.25}
    observers = Catalogue().observers(Falsifying(), listener, Falsifying())
    observers.step_ended(RUN, 1, losses)
    observers.epoch_ended(RUN, 1, 1, measures)
    assert (losses, measures) == ({"mask": 0.5}, {"dice": 0.25})
    assert listener.heard == [(1, losses), (1, 1, measures)]


def test_a_misspelt_hook_or_argument_of_an_observer_is_told_with_the_nearest() -> None:
    class Misspelt:
        @hookimpl
        def plk_step_endet(self) -> None:
            pass

    class Asking:
        @hookimpl
        def plk_step_ended(self, loss: Any) -> None:
            pass

    for observer, told in ((Misspelt(), "'plk_step_ended'?"), (Asking(), r"'losses'\?\): it is")):
        with pytest.raises(PluginError, match=rf"^[^\n]*did you mean {told}[^\n]*$"):
            manager("mine", observer)
