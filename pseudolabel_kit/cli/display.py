"""What a person sees while a run trains: an observer like any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pseudolabel_kit.cli.console import err
from pseudolabel_kit.plugin.hooks import Level, Outcome, Run, hookimpl

SHOWN = ("dice", "miou", "accuracy", "auc")


class Display:
    """A progress bar with rate and time left, one line an epoch, events as they come."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._bar = progress_bar(TextColumn("{task.fields[rate]}"))
        self._task = TaskID(0)
        self._seen = 0

    @hookimpl
    def plk_run_started(self, run: Run) -> None:
        """Say where the run writes, and start the bar."""
        method = run.config.method
        parts = f"{method.backbone} · {method.explainer} · {method.fuser}"
        err.print(f"{run.folder}  {parts}", style="bold", markup=False, soft_wrap=True)
        self._stack.enter_context(self._bar)
        self._task = self._bar.add_task("training", total=run.steps, rate="")

    @hookimpl
    def plk_step_ended(self, step: int) -> None:
        """Move the bar."""
        self._seen += 1  # steps may be told in bursts: the rate is that since the start
        elapsed = self._bar.tasks[self._task].elapsed
        rate = f"{self._seen / elapsed:.1f} steps/s" if elapsed else ""
        self._bar.update(self._task, completed=step, rate=rate)

    @hookimpl
    def plk_epoch_ended(self, epoch: int, step: int, measures: Mapping[str, float | None]) -> None:
        """One line an epoch."""
        told = [
            f"{name} {value:.3f}" for name in SHOWN if (value := measures.get(name)) is not None
        ]
        found = "  ".join(["val", *told]) if told else "no val rows"
        err.print(f"epoch {epoch:3d}  step {step:5d}  {found}", markup=False, soft_wrap=True)

    @hookimpl
    def plk_event_raised(self, level: Level, text: str) -> None:
        """Say it above the bar."""
        style = "yellow" if level == "warning" else "cyan"
        err.print(text, style=style, markup=False, soft_wrap=True)

    @hookimpl
    def plk_run_ended(self, outcome: Outcome) -> None:
        """Take the bar away."""
        self._stack.close()


def progress_bar(*more: TextColumn) -> Progress:
    """The bar that every long work shows, on `err`, where a person looks at it."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        *more,
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )


def decoding(stack: ExitStack) -> Callable[[int, int], None]:
    """A callback for the decoding of images: a bar that appears with its first call."""
    bar = progress_bar()
    tasks: list[TaskID] = []

    def told(done: int, total: int) -> None:
        if not tasks:
            stack.enter_context(bar)
            tasks.append(bar.add_task("decoding images", total=total))
        bar.update(tasks[0], completed=done)
        if done == total:
            bar.stop()

    return told


def stages(stack: ExitStack) -> Callable[[str, int, int], None]:
    """A callback for work of several kinds: a bar that is renamed with each."""
    bar = stack.enter_context(progress_bar())
    task = bar.add_task("opening", total=None)

    def told(what: str, done: int, total: int) -> None:
        bar.update(task, description=what, completed=done, total=total)

    return told
