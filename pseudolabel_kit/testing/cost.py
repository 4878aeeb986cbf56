"""What a call costs, counted and not timed: bytes that operations write, and bytes held at once.

Counts are the same on every machine, so that a promise about them cannot fail by chance.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Cost:
    """What one call took.

    Attributes:
        written: bytes that all operations wrote, forward and backward.
        peak: the most bytes that were held at once of those.
        kept: bytes still held when the call was over and its answer dropped.
        seconds: wall time, for orientation; 0 where nobody asked for it.
    """

    written: int
    peak: int
    kept: int
    seconds: float = 0.0


def counted(call: Callable[[], object]) -> Cost:
    """Count one call's bytes."""
    with _Ledger() as ledger:
        call()
    return Cost(ledger.written, ledger.peak, ledger.held)


def measure(call: Callable[[], object]) -> Cost:
    """Count one call's bytes; its time is the least of three more calls, without counting."""
    return replace(counted(call), seconds=min(_seconds(call) for _ in range(3)))


def _seconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees the output of every operation, and when its memory is given back."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.written = self.held = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        outputs = func(*args, **(kwargs or {}))
        for each in tree_leaves(outputs):
            if isinstance(each, Tensor):
                self._note(each)
        return outputs

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:  # a view, or a result that was written in place
            return
        self._known.add(key)
        self.written += tensor.nbytes
        self.held += size
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.held -= size
