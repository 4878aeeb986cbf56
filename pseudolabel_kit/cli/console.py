"""The two places that people read: results on `out`, everything else on `err`."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from textwrap import wrap
from typing import TextIO

from rich.console import Console

# Of several processes that train together, the first one speaks.
_QUIET = os.environ.get("LOCAL_RANK", "0") != "0"
out = Console(highlight=False, quiet=_QUIET)
err = Console(stderr=True, highlight=False, quiet=_QUIET)


def wrapped(console: Console, text: str, indent: int) -> str:
    """A text whose lines but the first are indented; for a program one line, however long."""
    room = max(console.width - indent, 20) if console.is_terminal else sys.maxsize
    lines = wrap(text, room, break_long_words=False, break_on_hyphens=False)  # paths stay whole
    return f"\n{' ' * indent}".join(lines)


def show_warnings() -> None:
    """From now on show a warning as one line on `err`, above any progress bar."""
    warnings.showwarning = _show_warning


def quieten() -> None:
    """Keep the libraries' notes from the terminal; call it before torch is imported.

    Fabric announces every process and the precision, and torch's reducer warns of a setting
    that parts which sit out some steps need. `TORCH_CPP_LOG_LEVEL` of the environment stays.
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    for name in ("rank_zero", "distributed"):  # the package's own logger is reset on import
        logging.getLogger(f"lightning_fabric.utilities.{name}").setLevel(logging.WARNING)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    err.print(f"plk: warning: {message}", style="yellow", markup=False, soft_wrap=True)
