"""Cells as tasks of a Ray cluster, whose machines see one file system at the same paths."""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from typing import Any

from pseudolabel_kit.compare.cells import Cell, Watcher
from pseudolabel_kit.compare.pool import judged
from pseudolabel_kit.compare.worker import FAILED, perform
from pseudolabel_kit.engine.signals import Stop
from pseudolabel_kit.errors import ConfigError

TICK = 0.2  # seconds between two looks at the cluster


def spread(cells: Sequence[Cell], *, watcher: Watcher, stop: Stop, jobs: int | None = None) -> None:
    """Run cells, `jobs` at a time, until all have ended or `stop` is asked for.

    The cluster is the one that RAY_ADDRESS names, or one that was started on this machine;
    RAY_ADDRESS=local starts one for this call. Every cell has a fresh process, an equal share
    of a machine's cores and, where the cluster has GPUs, one of them or a share.

    Args:
        jobs: by default one a GPU, or one a machine.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster.
    """
    with _connected() as ray:
        most, resources = shares(ray.nodes(), jobs)
        told = ray.util.queue.Queue(actor_options={"num_cpus": 0})
        task = ray.remote(max_calls=1, max_retries=0, **resources)(_task)
        waiting, running = deque(enumerate(cells)), dict[Any, Cell]()
        asked = False
        while running or (waiting and stop.number is None):
            while waiting and len(running) < most and stop.number is None:
                number, cell = waiting.popleft()
                there = task.remote(number, cell, told, resources["num_cpus"], *_here())
                running[there] = cell
                watcher.began(cell)
            if stop.number is not None and not asked:
                asked = True
                for each in running:
                    ray.cancel(each)  # as Ctrl-C does: the run saves a checkpoint and ends
            done = ray.wait(list(running), timeout=TICK)[0] if running else []
            for number, step, steps in told.get_nowait_batch(told.qsize()):
                watcher.stepped(cells[number], step, steps)
            for each in done:
                _end(ray, each, running.pop(each), watcher, asked=asked)


@contextmanager
def _connected() -> Iterator[Any]:
    try:
        import ray
        import ray.util.queue
    except ImportError:
        raise ConfigError(
            "--on ray: Ray is not installed: expected pip install 'pseudolabel-kit[ray]'"
        ) from None
    before = signal.getsignal(signal.SIGTERM)  # Ray puts its own in the place of ours
    try:
        ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError:
        raise ConfigError(
            "--on ray: there is no cluster: expected RAY_ADDRESS, or one that 'ray start --head' "
            "began on this machine; RAY_ADDRESS=local starts one for this command"
        ) from None
    try:
        if before is not signal.getsignal(signal.SIGTERM):
            signal.signal(signal.SIGTERM, before)
        yield ray
    finally:
        ray.shutdown()


def shares(nodes: Sequence[Mapping[str, Any]], jobs: int | None) -> tuple[int, dict[str, Any]]:
    """How many cells at a time, and what each may use."""
    found = [n["Resources"] for n in nodes if n["Alive"] and n["Resources"].get("CPU", 0) >= 1]
    gpus = int(sum(node.get("GPU", 0) for node in found))
    jobs = jobs or gpus or len(found)
    cpus = min(int(node["CPU"]) for node in found) // ceil(jobs / len(found))
    return jobs, {"num_cpus": max(1, cpus), "num_gpus": min(1, gpus / jobs)}


def _here() -> tuple[str, Mapping[str, str]]:
    """The folder that relative paths start from, and the variables that decide what is run."""
    ours = {name: value for name, value in os.environ.items() if name.startswith("PLK_")}
    return os.getcwd(), ours


def _task(
    number: int,
    cell: Cell,
    told: Any,
    threads: int,
    folder: str,
    environment: Mapping[str, str],
) -> int:
    os.chdir(folder)
    os.environ.update(environment)
    return perform(cell, lambda *steps: told.put_nowait((number, *steps)), threads)


def _end(ray: Any, task: Any, cell: Cell, watcher: Watcher, *, asked: bool) -> None:
    code, told = FAILED, None
    try:
        code = ray.get(task)
    except ray.exceptions.RayError as error:
        told = f"Ray lost it: {str(error).strip().splitlines()[-1]}"
    if not asked or code == 0:
        watcher.ended(cell, judged(cell, code, told))
