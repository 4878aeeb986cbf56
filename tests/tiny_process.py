"""`plk` in processes of its own that are quick to start and can be struck at any moment.

They are forked from a server that has imported torch once, so that twenty of them cost what
two usual ones do.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from pseudolabel_kit.cli.main import call

PRELOADED = [
    "pseudolabel_kit.cli.training",
    "pseudolabel_kit.cli.train",
    "plk_calibrated.caam",
    "plk_captum.input_x_gradient",
    "plk_calibrated.sharpen",
    "plk_calibrated.vgg",
]
PLACES = {  # module, owner within it, function: the blow falls when it is entered
    "step": ("pseudolabel_kit.engine.loop", "Loop", "train"),
    "measuring": ("pseudolabel_kit.engine.loop", "Loop", "end_epoch"),
    "labels begin": ("pseudolabel_kit.engine.loop", "Loop", "begin_consistency"),
    "labels watched": ("pseudolabel_kit.engine.loop", "Loop", "watch_labels"),
    "restoring": ("pseudolabel_kit.engine.loop", "Loop", "restore"),
    "logged, not saved": ("pseudolabel_kit.engine.checkpoint", "", "save"),
    "half written": ("pathlib", "Path", "write_bytes"),
    "saved, not pruned": ("pseudolabel_kit.engine.checkpoint", "", "prune"),
}


@dataclass(frozen=True)
class Blow:
    """A signal that a process sends itself.

    Attributes:
        place: one of `PLACES`.
        visit: the how-manieth time, from 1.
        delay: seconds from there; 0 = at once.
    """

    place: str
    visit: int
    kind: signal.Signals
    delay: float = 0.0


@dataclass
class Finished:
    """What became of a process."""

    code: int
    text: str


def blows(count: int, seed: int) -> list[Blow]:
    """Random moments, most within a step; first before there is any checkpoint."""
    rng = random.Random(seed)
    kinds = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
    early = ("labels begin", "logged, not saved")
    first = [Blow(place, 1, signal.SIGKILL) for place in early]
    first.append(Blow("step", 4, signal.SIGTERM))
    others = [Blow(place, 1, signal.SIGKILL) for place in PLACES if place not in (*early, "step")]
    others += [
        Blow("step", rng.randint(2, 4), kinds[number % 3], rng.uniform(0.0, 0.05))
        for number in range(count - len(others) - len(first))
    ]
    rng.shuffle(others)
    return [*first, *others]


def plk(
    line: Sequence[str],
    log: Path,
    *,
    blow: Blow | None = None,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run a command line to its end in a process of its own."""
    process = begin(line, log, blow=blow, environment=environment)
    return ended(process, log)


def begin(
    line: Sequence[str],
    log: Path,
    *,
    blow: Blow | None = None,
    environment: Mapping[str, str] | None = None,
) -> ForkServerProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    environment = {**os.environ, **(environment or {})}
    process = context.Process(target=_child, args=(list(line), str(log), blow, environment))
    process.start()
    return process


def ended(process: ForkServerProcess, log: Path, timeout: float = 120) -> Finished:
    process.join(timeout)
    if process.is_alive():
        process.kill()
        process.join()
    assert process.exitcode is not None
    return Finished(process.exitcode, log.read_text(encoding="utf-8"))


def _child(line: list[str], log: str, blow: Blow | None, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    if blow:
        _plant(blow)
    sys.exit(call(line))


def _plant(blow: Blow) -> None:
    module, owner, name = PLACES[blow.place]
    target: Any = import_module(module)
    target = getattr(target, owner) if owner else target
    original = getattr(target, name)
    visits = itertools.count(1)

    def struck(*arguments: Any, **named: Any) -> Any:
        if next(visits) == blow.visit:
            if blow.place == "half written":
                path, content = arguments
                original(path, content[: len(content) // 2])
            _strike(blow)
        return original(*arguments, **named)

    setattr(target, name, struck)


def _strike(blow: Blow) -> None:
    if not blow.delay:
        os.kill(os.getpid(), blow.kind)
        return
    timer = threading.Timer(blow.delay, os.kill, (os.getpid(), blow.kind))
    timer.daemon = True
    timer.start()
