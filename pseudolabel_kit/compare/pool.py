"""Cells side by side on this machine: a fresh process each, so that one can die alone."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_all_start_methods, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from typing import TypeAlias

import torch

from pseudolabel_kit.compare.cells import Cell, Watcher
from pseudolabel_kit.compare.worker import FAILED, perform
from pseudolabel_kit.engine.signals import Stop
from pseudolabel_kit.errors import RunError

Context: TypeAlias = ForkServerContext | SpawnContext
TICK = 0.1  # seconds between two looks at the processes


@dataclass(frozen=True)
class Child:
    """A cell and its process.

    Attributes:
        slot: from 0 to jobs - 1; on a machine with CUDA devices it picks one.
        progress: (step, steps) as the run takes them.
    """

    cell: Cell
    slot: int
    process: ForkServerProcess | SpawnProcess
    progress: Connection


def spread(cells: Sequence[Cell], *, watcher: Watcher, stop: Stop, jobs: int | None = None) -> None:
    """Run cells, `jobs` at a time, until all have ended or `stop` is asked for.

    Once it is, every process saves a checkpoint and ends. None outlives this call. Each has an
    equal share of the cores and, where there are CUDA devices, sees one of them alone.

    Args:
        jobs: by default one a CUDA device, or one.
    """
    context = _context()
    jobs = jobs or max(1, torch.cuda.device_count())
    waiting, running = deque(cells), list[Child]()
    asked = False
    try:
        while running or (waiting and stop.number is None):
            while waiting and len(running) < jobs and stop.number is None:
                slot = min(set(range(jobs)) - {child.slot for child in running})
                running.append(_start(context, waiting.popleft(), slot, jobs))
                watcher.began(running[-1].cell)
            if stop.number is not None and not asked:
                asked = True
                for child in running:
                    child.process.terminate()
            connection.wait([child.process.sentinel for child in running], TICK)
            running = [child for child in running if not _ended(child, watcher, asked=asked)]
    finally:
        for child in running:
            child.process.kill()
            child.process.join()


def _context() -> Context:
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is imported once for all cells
    return context


def _start(context: Context, cell: Cell, slot: int, jobs: int) -> Child:
    receiver, sender = context.Pipe(duplex=False)
    threads = max(1, _cores() // jobs)
    environment = {**os.environ, **device(slot)}
    process = context.Process(target=_child, args=(cell, sender, threads, environment))
    process.start()
    sender.close()
    return Child(cell, slot, process, receiver)


def _cores() -> int:
    """How many this process may use, where the system says so."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def device(slot: int) -> Mapping[str, str]:
    """The one CUDA device that a slot may see, of those that this process sees."""
    count = torch.cuda.device_count()
    if not count:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count))))
    return {"CUDA_VISIBLE_DEVICES": visible.split(",")[slot % count]}


def _ended(child: Child, watcher: Watcher, *, asked: bool) -> bool:
    """Pass its progress on; whether it has ended, and then say how."""
    code = child.process.exitcode  # first: what it said before its end is in the pipe
    with suppress(EOFError, OSError):
        while child.progress.poll():
            watcher.stepped(child.cell, *child.progress.recv())
    if code is None:
        return False
    child.progress.close()
    if not asked or code == 0:
        watcher.ended(child.cell, judged(child.cell, code))
    return True


def judged(cell: Cell, code: int, told: str | None = None) -> str | None:
    """Why a cell failed, None where it is finished; kept where its process could not.

    Args:
        code: with which its process ended.
        told: what is known of its end besides.
    """
    if code == 0 or (code == FAILED and cell.failure):
        return cell.failure
    reason = told or f"{_told(code)}; {_where(cell, code)}"
    try:
        cell.fail(reason)
    except RunError as error:  # other cells may still be able to write
        return f"{reason}; {error}"
    return reason


def _told(code: int) -> str:
    number = -code if code < 0 else code - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"its process ended with exit code {code}"
    hint = " (is the memory enough?)" if number == signal.SIGKILL else ""
    return f"its process was ended by {name}{hint}"


def _where(cell: Cell, code: int) -> str:
    """Where to look for more: `worker.perform` ends with neither 1 nor 2, Python's own numbers."""
    if code in (1, 2):
        return (
            "it could not begin, and said why on standard error: a script that compares does so "
            "under `if __name__ == '__main__':`"
        )
    return f"see {cell.log}" if cell.log.is_file() else f"it could not begin {cell.log}"


def _child(cell: Cell, progress: Connection, threads: int, environment: Mapping[str, str]) -> None:
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C at the terminal reaches the parent alone, who passes it on
    threading.Thread(target=_follow_the_parent, daemon=True).start()
    os.environ.update(environment)  # before anything asks CUDA for its devices
    sys.exit(perform(cell, lambda *steps: progress.send(steps), threads))


def _follow_the_parent() -> None:
    """End as politely as a signal does when the parent is gone without a word."""
    if parent := parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
