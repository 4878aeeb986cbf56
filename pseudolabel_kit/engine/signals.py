"""Stopping politely: a signal ends the run after the step that it interrupts."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import torch
from lightning_fabric import Fabric


class Stop:
    """Whether somebody asked the run to stop, and by which signal."""

    number: int | None = None

    def agreed(self, fabric: Fabric) -> bool:
        """Whether any process was asked to; all processes get the same answer."""
        asked = self.number is not None
        if fabric.world_size == 1:
            return asked
        votes = fabric.all_reduce(torch.tensor(float(asked)), reduce_op="sum")
        return float(votes) > 0  # type: ignore[arg-type]


@contextlib.contextmanager
def stop_requests() -> Iterator[Stop]:
    """Catch SIGINT and SIGTERM while the block runs; a second one acts as usual."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def note(number: int, frame: FrameType | None) -> None:
        stop.number = number
        for kind in kinds:
            signal.signal(kind, before[kind])

    for kind in kinds:
        signal.signal(kind, note)
    try:
        yield stop
    finally:
        for kind in kinds:
            signal.signal(kind, before[kind])
