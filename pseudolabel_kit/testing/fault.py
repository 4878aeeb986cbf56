"""A broken promise: what was seen, what was expected, and how to mend it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pseudolabel_kit.errors import UserError


class ConformanceError(AssertionError):
    """What a check found, and the way to mend it.

    Attributes:
        found: what was seen, and what was expected.
        fix: what to change.
    """

    found: str
    fix: str

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(f"{found}\n  fix: {fix}")
        self.found = found
        self.fix = fix


class DeclinedError(ConformanceError):
    """The part declined, by a `UserError`, what it was asked: no fault where it may."""


def require(kept: bool, found: str, fix: str) -> None:
    """Raise a `ConformanceError` unless the promise was kept."""
    if not kept:
        raise ConformanceError(found, fix)


@contextmanager
def sound(doing: str) -> Iterator[None]:
    """Name what was being done when a part raises; faults pass as they are.

    Raises:
        DeclinedError: the part declined what it was asked.
        ConformanceError: it raised anything else; with the line.
    """
    try:
        yield
    except ConformanceError:
        raise
    except UserError as error:
        raise DeclinedError(
            f"{doing} refused: {error or type(error).__name__}",
            "answer it; a part that needs other images, or a network of its own, is tested by a "
            "suite that overrides `tasks`, `model` or `arguments`",
        ) from error
    except Exception as error:  # a stranger's code: it may raise anything
        frame = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(frame.filename).name}:{frame.lineno}"
        raise ConformanceError(
            f"{doing} raised {type(error).__name__}: {error} ({at})",
            "make it work there, or refuse in one line by a PluginError or ConfigError that says "
            "what was expected",
        ) from error


@contextmanager
def where(circumstance: str, fix: str = "") -> Iterator[None]:
    """Say under which circumstance a fault was found, and with `fix` how that is mended."""
    try:
        yield
    except ConformanceError as fault:
        found = f"{circumstance}: {fault.found}" if circumstance else fault.found
        raise type(fault)(found, fix or fault.fix) from fault


@contextmanager
def may_refuse() -> Iterator[None]:
    """Let a part decline by a `UserError` what it cannot do; the message must not be empty.

    Raises:
        ConformanceError: the message is empty, or takes more than one line.
    """
    try:
        yield
    except DeclinedError as refusal:
        said = str(refusal.__cause__)
        require(
            bool(said.strip()) and "\n" not in said,
            f"it refused by {type(refusal.__cause__).__name__}({said!r})",
            "say in one line what was expected",
        )
