"""The work of one cell, in a process of its own: train, picture, measure."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import torch
from filelock import FileLock, Timeout

from pseudolabel_kit.compare import pictures
from pseudolabel_kit.compare.cells import Cell
from pseudolabel_kit.engine.evaluate import evaluate
from pseudolabel_kit.engine.failure import StoppedError
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.errors import RunError, UserError
from pseudolabel_kit.plugin.hooks import Run, hookimpl
from pseudolabel_kit.report.page import write_report

Tell: TypeAlias = Callable[[int, int], None]  # steps done, steps in all

FAILED = 70  # no number that Python itself ends with: see `pool.judged`
PATIENCE = 60.0  # seconds for a process that a killed comparison left behind to save and go
BREATH = 0.2  # seconds between two reports of progress


def perform(cell: Cell, tell: Tell, threads: int) -> int:
    """Do what is left of a cell; what is printed meanwhile goes to the cell's log.

    Args:
        cell: its run may be unborn, half trained or trained.
        tell: told of the steps as they are taken.
        threads: at most so many compute on the CPU.

    Returns:
        0 when the cell is finished, `FAILED` when it keeps its reason, 128 + n when signal n
        stopped it and it can go on.
    """
    torch.set_num_threads(max(1, min(torch.get_num_threads(), threads)))
    try:
        _write_into(cell.log)
        cell.forget_failure()
    except OSError as error:
        return _failed(cell, f"{cell.log}: cannot be written: {error.strerror}")
    try:
        stopped = _work(cell, tell)
    except (Exception, SystemExit) as error:  # what ends this cell must not end the others
        traceback.print_exc()
        return _failed(cell, _in_a_line(error))
    return 0 if stopped is None else 128 + stopped


def _work(cell: Cell, tell: Tell) -> int | None:
    """The signal that stopped it, or None."""
    _wait_for_the_last_one(cell)
    if cell.anew or not cell.trained:
        run = train(
            cell.config,
            out=cell.folder,
            resume=cell.begun and not cell.anew,
            overwrite=cell.anew,
            observers=(Teller(tell),),
        )
        if run.interrupted is not None:
            return run.interrupted
    pictures.write(cell.folder, cell.split)
    evaluate(cell.folder, cell.split)
    write_report(cell.folder)
    return None


class Teller:
    """An observer that tells of steps, a few times a second."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._last = 0.0

    @hookimpl
    def plk_step_ended(self, run: Run, step: int) -> None:
        """Tell of the step, unless one was told of just now."""
        now = time.monotonic()
        if now - self._last >= BREATH or step == run.steps:
            self._last = now
            self._tell(step, run.steps)


def _wait_for_the_last_one(cell: Cell) -> None:
    if cell.folder.is_dir():
        with contextlib.suppress(Timeout), FileLock(cell.folder / ".lock", timeout=PATIENCE):
            pass


def _write_into(log: Path) -> None:
    """Send both streams of the process to the end of a file, below Python, as crashes write."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number in (1, 2):
            os.dup2(file.fileno(), number)


def _failed(cell: Cell, reason: str) -> int:
    with contextlib.suppress(RunError):  # then whoever waits for this process finds out
        cell.fail(reason)
    return FAILED


def _in_a_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, StoppedError):
        return error.fault  # how to go on with a single run is no advice here
    if isinstance(error, UserError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
