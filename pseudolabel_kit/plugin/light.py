"""What a light module may do while it is read: anything but import torch or write to stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from threading import get_ident
from types import FrameType, ModuleType
from typing import TypeVar

from pseudolabel_kit.errors import PluginError

T = TypeVar("T")
HEAVY = "torch"


def lightly(module: str, ask: Callable[[], T]) -> T:
    """`ask()`, in which the light module `module` is imported and asked for its parts.

    What it prints goes to stderr, so that it cannot spoil a command's output. Where torch is
    in the process already there is nothing to be slow, and nothing is refused.

    Raises:
        PluginError: torch was to be imported, by whomever, even if someone swallowed the refusal.
    """
    before = set(sys.modules)
    guard = _Guard(module)
    sys.meta_path.insert(0, guard)
    try:
        with redirect_stdout(sys.stderr):
            answer = ask()
    except KeyboardInterrupt:
        raise
    except BaseException:
        if guard.refusal is None:
            raise
    finally:
        sys.meta_path.remove(guard)
    if guard.refusal is None:
        return answer
    _forget(set(sys.modules) - before, guard.importers)
    raise guard.refusal from None


class _Guard(MetaPathFinder, Loader):
    """Finds torch first, in this thread alone, and refuses to load it.

    The loader refuses, not the finder: to ask whether torch is installed costs nothing. The
    refusal is no ImportError, which modules catch to go on without torch, and is kept for those
    that catch everything.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._thread = get_ident()
        self.importers: list[str] = [module]
        self.refusal: PluginError | None = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        mine = fullname == HEAVY and get_ident() == self._thread
        return ModuleSpec(fullname, self) if mine else None

    def exec_module(self, module: ModuleType) -> None:
        importers = list(_being_imported())[::-1]
        self.importers += importers
        told: dict[str, str] = {}  # the first module of each package: enough to find the line
        for each in importers:
            if each != self._module:
                told.setdefault(_package(each), each)
        through = f" (through {', '.join(told.values())})" if told else ""
        self.refusal = self.refusal or PluginError(
            f"its light module imports {HEAVY}{through}: import it inside the part's module"
        )
        raise self.refusal


def _being_imported() -> Iterator[str]:
    """The modules whose code is running, innermost first, out to `lightly`."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code is not lightly.__code__:
        if frame.f_code.co_name == "<module>":
            yield frame.f_globals["__name__"]
        frame = frame.f_back


def _forget(new: set[str], importers: Sequence[str]) -> None:
    """Take from `sys.modules` what may believe that there is no torch; others need it whole."""
    packages = set(map(_package, importers))
    for name in new:
        if _package(name) in packages:
            del sys.modules[name]


def _package(module: str) -> str:
    return module.partition(".")[0]
