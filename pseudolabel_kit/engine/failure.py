"""How a run ends where a part fails: with one line that says how to go on, once it is mended."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pseudolabel_kit.engine import checkpoint
from pseudolabel_kit.engine.finite import DivergedError
from pseudolabel_kit.engine.gradients import told_by_term
from pseudolabel_kit.engine.tensors import beside
from pseudolabel_kit.engine.undo import undone
from pseudolabel_kit.errors import PluginError, RunError
from pseudolabel_kit.files import write_text

if TYPE_CHECKING:
    from pseudolabel_kit.engine.loop import Loop


CHANGED = ", which had changed weights or a large memory, so that it cannot be kept"


class StoppedError(PluginError):
    """A part stopped the run; the message says from where it goes on.

    Attributes:
        fault: the part, what it did and when, without the advice.
    """

    def __init__(self, fault: str, *advice: str) -> None:
        super().__init__("; ".join((fault, *advice)))
        self.fault = fault


@contextmanager
def resumable(loop: Loop) -> Iterator[None]:
    """Around a whole run, for what it does between two steps and when it is over.

    Raises:
        StoppedError: a part failed; its traceback is in the folder, and checkpoints are as
            they were.
        RunError: training diverged.
    """
    if loop.fabric.is_global_zero:
        loop.folder.failure.unlink(missing_ok=True)
    try:
        yield
    except StoppedError:
        raise
    except DivergedError as error:
        raise _diverged(loop, error, f"after step {loop.progress.step}") from error
    except PluginError as error:
        raise _stopped(loop, error, f"after step {loop.progress.step}") from error


@contextmanager
def resumable_step(loop: Loop) -> Iterator[None]:
    """Around a step until its weights move: a step that a part fails in was never begun.

    With several processes the others wait in the step, and nothing can be saved; nor can it be
    where something had changed that is not copied each time (see `Undo`).

    Raises:
        StoppedError: a part failed; the run goes on with this very step.
        RunError: training diverged.
    """
    try:
        with told_by_term(loop), undone(loop.learner, *beside(loop).values()) as undo:
            yield
    except DivergedError as error:
        raise _diverged(loop, error, f"in step {loop.progress.step + 1}") from error
    except PluginError as error:
        if loop.fabric.world_size == 1 and undo.whole:
            with suppress(RunError):  # a full disk: then an earlier checkpoint is named
                loop.save()
        when = f"in step {loop.progress.step + 1}{'' if undo.whole else CHANGED}"
        raise _stopped(loop, error, when) from error


def _diverged(loop: Loop, error: DivergedError, when: str) -> RunError:
    return RunError(f"{loop.folder.path}: {when} {error}")


def _stopped(loop: Loop, error: PluginError, when: str) -> StoppedError:
    """The message; promises no file that is not there."""
    run, told = loop.folder.path, [f"{error}, {when}"]
    with suppress(RunError):
        write_text(loop.folder.failure, "".join(traceback.format_exception(error)))
        told.append(f"traceback: {loop.folder.failure}")
    last = checkpoint.last_step(loop.folder.checkpoints)
    begins = "begins anew" if last is None else f"goes on from step {last}"
    told.append(f"once it is mended, `plk train --resume {run}` {begins}")
    return StoppedError(*told)
