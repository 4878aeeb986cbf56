"""A broken promise: what was seen, what was expected, and how to mend it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature

from pseudolabel_kit.errors import UserError
from pseudolabel_kit.interfaces import Model
from pseudolabel_kit.plugin.blame import place
from pseudolabel_kit.plugin.line import in_a_line

_MISFIT = re.compile(r"(\w+)\(\) (got|takes|missing) ")  # what Python says of a call's arguments


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


class UnansweredError(ConformanceError):
    """The part raised; how that is mended depends on what it was asked."""


class DeclinedError(UnansweredError):
    """The part declined, by a `UserError`, what it was asked: no fault where it may."""


def require(kept: bool, found: str, fix: str) -> None:
    """Raise a `ConformanceError` unless the promise was kept."""
    if not kept:
        raise ConformanceError(found, fix)


@contextmanager
def sound(doing: str, part: object) -> Iterator[None]:
    """Name what was being done when a part raises; faults pass as they are.

    Args:
        doing: the method that is called, perhaps with more words.
        part: whose method it is; the line that is told is in its package.

    Raises:
        DeclinedError: the part declined what it was asked.
        ConformanceError: it raised anything else, SystemExit too; with the line.
    """
    try:
        yield
    except (ConformanceError, KeyboardInterrupt):
        raise
    except UserError as error:
        raise DeclinedError(
            f"{doing} refused: {in_a_line(error)}",
            "answer it; a part that needs other images, or a network of its own, is tested by a "
            "suite that overrides `tasks`, `model` or `arguments`",
        ) from error
    except BaseException as error:  # a stranger's code: it may raise anything
        told = in_a_line(error)
        misfit = _MISFIT.search(told) if isinstance(error, TypeError) else None
        if misfit and (expected := _contract(part, misfit[1])):
            raise ConformanceError(f"{doing} raised {told}", f"define {expected}") from error
        raise UnansweredError(
            f"{doing} raised {told}{place(error, part)}",
            "make it work there, or refuse in one line by a PluginError or ConfigError that says "
            "what was expected",
        ) from error


@contextmanager
def where(circumstance: str, fix: str = "") -> Iterator[None]:
    """Say under which circumstance a fault was found, and with `fix` how to answer there."""
    try:
        yield
    except ConformanceError as fault:
        found = f"{circumstance}: {fault.found}" if circumstance else fault.found
        answer = fix if isinstance(fault, UnansweredError) else ""
        raise type(fault)(found, answer or fault.fix) from fault


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


def _contract(part: object, method: str) -> str | None:
    """How the contract spells a method, "fuse(self, prediction, evidence)"; None = it has none."""
    name = "__call__" if method == "forward" else method
    for home in (Model, *reversed(type(part).__mro__)):
        if name in vars(home) and home.__module__.startswith("pseudolabel_kit."):
            return f"{method}({', '.join(signature(vars(home)[name]).parameters)})"
    return None
