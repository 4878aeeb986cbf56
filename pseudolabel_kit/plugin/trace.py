"""PLK_TRACE_PLUGINS=1: one line on stderr for every call of a plugin. Costs microseconds when off.

The line tells how long the call took, whose it was, and a hook's arguments, cut short; tensors are
told by their shape. On an accelerator the time of a part is what it takes to give it work. "1",
"true", "yes" and "on" switch it on, in any case of letters; anything else leaves it off. For hooks
it is asked for when a plugin is loaded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import pluggy

TRACE = "PLK_TRACE_PLUGINS"
_ON = ("1", "true", "yes", "on")
_LONGEST, _MOST = 60, 4  # characters of a text, entries of a mapping or a list


def tracing() -> bool:
    """Whether the environment asks for a trace."""
    return os.environ.get(TRACE, "").strip().lower() in _ON


@contextmanager
def traced(who: str, what: str) -> Iterator[None]:
    """Tell how long a block of a plugin's code took: its import, or a call of one of its parts."""
    if not tracing():
        yield
        return
    began, ended = perf_counter(), ""
    try:
        yield
    except BaseException as error:
        ended = f" raised {type(error).__name__}"
        raise
    finally:
        _tell(who, f"{what}{ended}", perf_counter() - began)


def trace_hooks(alone: pluggy.PluginManager, who: str) -> None:
    """Tell of every hook call of a plugin that is alone in its manager."""
    if not tracing():
        return
    began: list[float] = []

    def before(hook: str, methods: Sequence[Any], arguments: Mapping[str, Any]) -> None:
        began.append(perf_counter())

    def after(
        outcome: pluggy.Result[Any], hook: str, methods: Sequence[Any], arguments: Mapping[str, Any]
    ) -> None:
        seconds = perf_counter() - began.pop()
        told = ", ".join(f"{name}={short(value)}" for name, value in arguments.items())
        raised = outcome.exception
        ended = f" raised {type(raised).__name__}" if raised else _answer(outcome.get_result())
        _tell(who, f"{hook}({told}){ended}", seconds)

    alone.add_hookcall_monitoring(before, after)


def short(value: object) -> str:
    """A value in a few characters: figures rounded, tensors by their shape, runs by their folder.

    >>> short({"mask": 0.123456, "label": 2}), short("x" * 80)[-4:], short(None)
    ('{mask: 0.1235, label: 2}', "xx…'", 'None')
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    if value is None or isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        line = " ".join(value.split())
        return repr(line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…")
    if isinstance(value, Mapping):
        entries = [f"{key}: {short(each)}" for key, each in value.items()]
        return f"{{{_few(entries)}}}"
    if isinstance(shape := getattr(value, "shape", None), tuple):
        return f"({', '.join(map(str, shape))})"
    if isinstance(folder := getattr(value, "folder", None), Path):
        return f"{folder.name}/"
    if is_dataclass(value):
        named = ((each.name, getattr(value, each.name)) for each in fields(value))
        told = [f"{name} {short(each)}" for name, each in named if each is not None]
        return f"{type(value).__name__}({_few(told)})"
    return type(value).__name__


def _few(entries: Sequence[str]) -> str:
    return ", ".join([*entries[:_MOST], *(["…"] if len(entries) > _MOST else [])])


def _answer(answers: Sequence[object]) -> str:
    """What a hook returned; observing hooks return nothing."""
    lists = [answer for answer in answers if isinstance(answer, Sequence)]
    count = sum(map(len, lists))
    return f" -> {count} component{'' if count == 1 else 's'}" if lists else ""


def _tell(who: str, what: str, seconds: float) -> None:
    print(f"plk: trace: {1000 * seconds:8.2f} ms  {who}: {what}", file=sys.stderr)
