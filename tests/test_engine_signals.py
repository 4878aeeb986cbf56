from __future__ import annotations

import os
import signal
import threading

import pytest

from pseudolabel_kit.engine.signals import stop_requests


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_a_second_one_acts_as_usual(kind: signal.Signals) -> None:
    usual: list[int] = []
    before = signal.signal(kind, lambda number, frame: usual.append(number))
    try:
        with stop_requests() as stop:
            assert stop.number is None
            os.kill(os.getpid(), kind)
            assert stop.number == kind
            assert not usual
            os.kill(os.getpid(), kind)
            assert usual == [kind]
    finally:
        signal.signal(kind, before)


def test_the_handlers_are_put_back_even_after_an_error() -> None:
    before = [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)]

    def failing() -> None:
        with stop_requests():
            assert signal.getsignal(signal.SIGTERM) is not before[1]
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        failing()
    assert [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)] == before


def test_in_another_thread_signals_are_left_alone() -> None:
    seen: list[object] = []

    def work() -> None:
        with stop_requests() as stop:
            seen.extend([stop.number, signal.getsignal(signal.SIGTERM)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None, signal.getsignal(signal.SIGTERM)]
