"""Work on many items in several processes."""

from __future__ import annotations

import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

import SimpleITK as sitk

from pseudolabel_kit.errors import RunError

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 8  # results a process, which may wait in memory


def side_by_side(
    work: Callable[[Item], Result], items: Sequence[Item], *, jobs: int, doing: str
) -> Iterator[Result]:
    """What work makes of each item, in the order of the items.

    Args:
        work: a function that another process can import.
        jobs: processes; with one, work is done in this one.
        doing: what a process does, for errors, as "converts".

    Raises:
        RunError: a process was ended from outside.
    """
    jobs = min(jobs, len(items))
    if jobs <= 1:
        yield from map(work, items)
        return
    context = get_context("forkserver" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_begin_worker) as pool:
        waiting = deque[Future[Result]]()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) == AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise RunError(
                f"a process that {doing} was ended (is the memory enough?); "
                "use fewer --jobs, and what is done is kept"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
