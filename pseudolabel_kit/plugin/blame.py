"""Whose fault it was: what goes wrong in a part becomes one line that names the part."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from pseudolabel_kit.errors import PluginError, UserError
from pseudolabel_kit.plugin.discovery import in_a_line
from pseudolabel_kit.plugin.trace import traced

LONGEST = 300  # characters of what a part raised; the whole is in the traceback
_ALLOCATOR = "DefaultCPUAllocator"  # how torch's plain RuntimeError tells that memory is out


class FaultError(PluginError):
    """A part raised, or gave what its contract forbids: its author's to mend."""


class RefusedError(Exception):
    """What a part gave is not what its contract says; `blamed` adds whose it was."""


@contextmanager
def blamed(part: object, method: str) -> Iterator[None]:
    """What is raised inside is the fault of `part`, whose `method` is called there, and traced.

    What the user can mend, and memory that is out, stay what they are.

    Raises:
        FaultError: in one line the part, the method, what it raised or gave, and the place
            in the part's own package.
        PluginError: the part refuses, as it does not fit; it is named where it did not itself.
    """
    try:
        with traced(origin(part), method):
            yield
    except RefusedError as error:
        raise gave(part, method, error) from error
    except FaultError:
        raise
    except PluginError as error:
        if str(error).startswith(origin(part)):
            raise
        raise PluginError(f"{origin(part)}: {error}") from error
    except Exception as error:  # a stranger's code: it may raise anything
        if isinstance(error, UserError) or _out_of_memory(error):
            raise
        told = textwrap.shorten(in_a_line(error), LONGEST, placeholder=" …")
        raise FaultError(f"{origin(part)}: {method} raised {told}{place(error, part)}") from error


def gave(part: object, method: str, error: RefusedError) -> FaultError:
    """What `part` gave by `method`, once it turns out to be wrong."""
    return FaultError(f"{origin(part)}: {method} gave {error}")


def origin(part: object) -> str:
    """What messages call a part, a dataset or a tracker; its class, where nobody named it."""
    return str(vars(part).get("_origin", type(part).__name__))


def place(error: BaseException, part: object) -> str:
    """ " (file:line)" of the innermost frame in the part's package, else of the innermost."""
    package = type(part).__module__.partition(".")[0]
    frames = list(walk_tb(error.__traceback__))[2:]  # the first are `blamed` and its caller
    own = [f for f in frames if str(f[0].f_globals.get("__name__")).partition(".")[0] == package]
    for frame, line in reversed(own or frames):
        return f" ({frame.f_code.co_filename}:{line})"
    return ""


def _out_of_memory(error: Exception) -> bool:
    kinds = {kind.__name__ for kind in type(error).__mro__}  # torch is not imported for its name
    return bool(kinds & {"MemoryError", "OutOfMemoryError"}) or _ALLOCATOR in str(error)
