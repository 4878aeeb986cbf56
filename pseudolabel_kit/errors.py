"""Errors that a user can mend: one line that says what, where, and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Shown as one line without a traceback; the command exits with 2."""


class ConfigError(UserError):
    """An option or a configuration key is misspelt, out of range, or contradicts another."""


class PluginError(UserError):
    """A plugin is unknown, ambiguous, broken, or broke its contract."""


class DataError(UserError):
    """A file of the dataset is missing, unreadable, or not what the manifest says."""


class RunError(UserError):
    """A run folder cannot be written, resumed or read."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint like " (did you mean 'sharpen'?)", or nothing where nothing is near.

    >>> nearest("sharpn", ["fixmatch", "sharpen"])
    " (did you mean 'sharpen'?)"
    >>> nearest("zebra", ["fixmatch", "sharpen"])
    ''
    """
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{matches[0]}'?)" if matches else ""
