"""Whose fault it was: what goes wrong in a part becomes one line that names the part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from pseudolabel_kit.errors import PluginError, UserError
from pseudolabel_kit.plugin.line import in_a_line, message
from pseudolabel_kit.plugin.trace import traced

_LESS = "give it less at once, by a smaller train.batch_size or by an option of its own"
_ALLOCATOR = "DefaultCPUAllocator"  # how torch's plain RuntimeError tells that memory is out


class FaultError(PluginError):
    """A part raised, or gave what its contract forbids: its author's to mend."""


class RefusedError(Exception):
    """What a part gave is not what its contract says; `blamed` adds whose it was."""


class BlamelessError(Exception):
    """What no part is to blame for, though it shows while one is called: `blamed` lets it pass."""


@contextmanager
def blamed(part: object, method: str) -> Iterator[None]:
    """What is raised inside is the fault of `part`, whose `method` is called there, and traced.

    An interrupt stays one, and so does a `BlamelessError`.

    Raises:
        FaultError: in one line the part, the method, what it raised or gave, and the place
            in the part's own package; also where it asks to exit, or memory is out.
        PluginError: the part refuses; it is named where it did not itself.
    """
    try:
        with traced(origin(part), method):
            yield
    except (KeyboardInterrupt, BlamelessError, FaultError):
        raise
    except RefusedError as error:
        raise gave(part, method, error) from error
    except UserError as error:
        if isinstance(error, PluginError) and message(error).startswith(origin(part)):
            raise
        raise PluginError(f"{origin(part)}: {message(error)}") from error
    except BaseException as error:  # a stranger's code: it may raise anything, SystemExit too
        told = f"raised {in_a_line(error)}{place(error, part)}"
        if _out_of_memory(error):
            told = f"ran out of memory{place(error, part)}: {_LESS}"
        raise FaultError(f"{origin(part)}: {method} {told}") from error


def gave(part: object, method: str, error: RefusedError) -> FaultError:
    """What `part` gave by `method`, once it turns out to be wrong."""
    return FaultError(f"{origin(part)}: {method} gave {error}")


def origin(part: object) -> str:
    """What messages call a part, a dataset or a tracker; its class, where nobody named it."""
    return str(vars(part).get("_origin", type(part).__name__))


def place(error: BaseException, part: object) -> str:
    """ " (file:line)" of the innermost frame in the part's package, else of the innermost."""
    frames = list(walk_tb(error.__traceback__))[2:]  # the first are `blamed` and its caller
    own = place_within(error, type(part).__module__, skip=2)
    if own or not frames:
        return own
    frame, line = frames[-1]
    return f" ({frame.f_code.co_filename}:{line})"


def place_within(error: BaseException, module: str, *, skip: int = 0) -> str:
    """ " (file:line)" of the innermost frame in a module's package, if there is one.

    Args:
        skip: how many of the outermost frames are not looked at.
    """
    package = module.partition(".")[0]
    for frame, line in reversed(list(walk_tb(error.__traceback__))[skip:]):
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package:
            return f" ({frame.f_code.co_filename}:{line})"
    return ""


def _out_of_memory(error: BaseException) -> bool:
    kinds = {kind.__name__ for kind in type(error).__mro__}  # torch is not imported for its name
    return bool(kinds & {"MemoryError", "OutOfMemoryError"}) or _ALLOCATOR in message(error)
