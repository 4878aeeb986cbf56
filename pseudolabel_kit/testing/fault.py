"""A broken promise: what was seen, what was expected, and how to mend it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pseudolabel_kit.errors import UserError


class FaultError(AssertionError):
    """What a check found, and the way to mend it.

    Attributes:
        found: what was seen, and what was expected.
        fix: what to change.
    """

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(f"{found}\n  fix: {fix}")
        self.found = found
        self.fix = fix


def require(kept: bool, found: str, fix: str) -> None:
    """Raise a `FaultError` unless the promise was kept."""
    if not kept:
        raise FaultError(found, fix)


@contextmanager
def sound(doing: str) -> Iterator[None]:
    """Name what was being done when a part raises; faults and refusals pass as they are.

    Raises:
        FaultError: the part raised anything else; it names the line.
    """
    try:
        yield
    except (FaultError, UserError):
        raise
    except Exception as error:  # a stranger's code: it may raise anything
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        raise FaultError(
            f"{doing} raised {type(error).__name__}: {error} ({where})",
            "make it work there, or refuse in one line by a PluginError or ConfigError that says "
            "what was expected",
        ) from error


@contextmanager
def may_refuse() -> Iterator[None]:
    """Let a part decline by a `UserError` what it cannot do; the message must not be empty."""
    try:
        yield
    except UserError as error:
        require(
            bool(str(error)),
            f"it refused by a {type(error).__name__} that says nothing",
            "say what was expected",
        )
