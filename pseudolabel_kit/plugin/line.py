"""What a stranger raised, told in one line."""

from __future__ import annotations

from pseudolabel_kit.errors import PluginError

LONGEST = 500  # characters of a stranger's message that are shown; the whole is in the traceback


def in_a_line(error: BaseException) -> str:
    """An exception as one line: its class, unless the message was written for people."""
    text = message(error)
    if isinstance(error, PluginError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def message(error: BaseException) -> str:
    """What an exception says, without line breaks and cut short; "" where it cannot say it."""
    try:
        text = " ".join(str(error).split())
    except KeyboardInterrupt:
        raise
    except BaseException:  # a stranger's class
        return ""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
