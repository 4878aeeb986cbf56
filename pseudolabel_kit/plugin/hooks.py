"""The hooks that a plugin may implement, and how observers are called.

One hook offers parts, the others observe a run: they return nothing and change nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import pluggy

from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.plugin.line import in_a_line, message
from pseudolabel_kit.plugin.misfit import misfits
from pseudolabel_kit.plugin.trace import trace_hooks

if TYPE_CHECKING:
    from pseudolabel_kit.config import Config
    from pseudolabel_kit.interfaces import PseudoLabels
    from pseudolabel_kit.plugin.component import Component

PROJECT = "pseudolabel_kit"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Outcome: TypeAlias = Literal["finished", "interrupted", "failed"]
Level: TypeAlias = Literal["info", "warning"]


class Run(Protocol):
    """What an observer may read of a run."""

    @property
    def folder(self) -> Path:
        """Where the run writes."""

    @property
    def config(self) -> Config:
        """Everything that decided the run."""

    @property
    def steps(self) -> int:
        """How many steps the run will take."""


class Hooks:
    """The specifications; an implementation may leave out arguments that it does not need."""

    @hookspec
    def plk_components(self) -> list[Component]:  # type: ignore[empty-body]
        """The parts that this plugin offers. Import nothing heavy to answer."""

    @hookspec
    def plk_run_started(self, run: Run) -> None:
        """The run's folder and configuration are settled; no step has been taken."""

    @hookspec
    def plk_step_ended(self, run: Run, step: int, losses: Mapping[str, float]) -> None:
        """The optimiser has moved. `step` counts from 1; `losses` are unweighted, by name."""

    @hookspec
    def plk_pseudo_labelled(self, run: Run, step: int, pseudo: PseudoLabels) -> None:
        """Unlabelled rows have been given targets, before the strong view is made."""

    @hookspec
    def plk_epoch_ended(
        self, run: Run, epoch: int, step: int, measures: Mapping[str, float | None]
    ) -> None:
        """An epoch is over, after `step` steps; `measures` of val, empty if it has no rows."""

    @hookspec
    def plk_event_raised(self, run: Run, step: int, level: Level, text: str) -> None:
        """Something worth saying aloud: an audit's verdict, a drift, a term that trains nothing."""

    @hookspec
    def plk_run_ended(self, run: Run, outcome: Outcome) -> None:
        """Nothing more will be written by the run itself."""


HOOKS = tuple(name for name in vars(Hooks) if name.startswith("plk_"))


def manager(name: str, plugin: object) -> pluggy.PluginManager:
    """A plugin by itself in a manager, so that it can break nothing but itself.

    Raises:
        PluginError: a hook has another name or other arguments than the specification, or there
            is no hook at all.
    """
    alone = pluggy.PluginManager(PROJECT)
    alone.add_hookspecs(Hooks)
    try:
        alone.register(plugin, name=name)
        alone.check_pending()
    except pluggy.PluginValidationError as error:
        told = "; ".join(misfits(alone, plugin, Hooks))
        raise PluginError(told or message(error)) from error
    if not alone.get_hookcallers(plugin):
        unmarked = [f"{hook} lacks @hookimpl" for hook in HOOKS if hasattr(plugin, hook)]
        raise PluginError(unmarked[0] if unmarked else f"it implements no hook of {PROJECT}")
    trace_hooks(alone, name)
    return alone


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=4)


class Observers:
    """Calls the observing hooks of whoever has them, and costs nothing otherwise.

    A hook that raises is named, warned of and switched off with all others of its observer, but
    for `plk_run_ended`, in which it may close what it opened; the run goes on.

    Args:
        managers: the plugins, each alone in its manager, by name.
        warn: told of each hook that raised; by default a `RuntimeWarning`.
    """

    def __init__(
        self,
        managers: Iterable[tuple[str, pluggy.PluginManager]] = (),
        warn: Callable[[str], None] = _warn,
    ) -> None:
        self._warn = warn
        self._listeners: dict[str, list[tuple[str, pluggy.PluginManager]]] = {
            hook: [] for hook in HOOKS if hook != "plk_components"
        }
        for name, alone in managers:
            self._add(f"plugin '{name}'", alone)

    def add(self, who: str, observer: object) -> None:
        """Tell one more observer from now on; `who` is what messages call it.

        Raises:
            PluginError: as by `manager`.
        """
        self._add(who, manager(who, observer))

    def run_started(self, run: Run) -> None:
        """Tell that the run begins."""
        self._tell("plk_run_started", run=run)

    def step_ended(self, run: Run, step: int, losses: Mapping[str, float]) -> None:
        """Tell each loss of a step."""
        self._tell("plk_step_ended", run=run, step=step, losses=losses)

    def pseudo_labelled(self, run: Run, step: int, pseudo: PseudoLabels) -> None:
        """Show a step's pseudo labels."""
        self._tell("plk_pseudo_labelled", run=run, step=step, pseudo=pseudo)

    def epoch_ended(
        self, run: Run, epoch: int, step: int, measures: Mapping[str, float | None]
    ) -> None:
        """Tell an epoch's measures."""
        self._tell("plk_epoch_ended", run=run, epoch=epoch, step=step, measures=measures)

    def event_raised(self, run: Run, step: int, level: Level, text: str) -> None:
        """Tell something worth saying aloud."""
        self._tell("plk_event_raised", run=run, step=step, level=level, text=text)

    def run_ended(self, run: Run, outcome: Outcome) -> None:
        """Tell how the run ended."""
        self._tell("plk_run_ended", run=run, outcome=outcome)

    def _add(self, who: str, alone: pluggy.PluginManager) -> None:
        for hook, listeners in self._listeners.items():
            if getattr(alone.hook, hook).get_hookimpls():
                listeners.append((who, alone))

    def _tell(self, hook: str, **event: object) -> None:
        for who, alone in tuple(self._listeners[hook]):
            try:
                getattr(alone.hook, hook)(**{name: _own(each) for name, each in event.items()})
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a stranger's code: nothing it raises ends the run
                self._switch_off(who, alone)
                self._warn(f"hook {hook} of {who} is switched off, it raised {in_a_line(error)}")

    def _switch_off(self, who: str, alone: pluggy.PluginManager) -> None:
        for hook, listeners in self._listeners.items():
            if hook != "plk_run_ended" and (who, alone) in listeners:
                listeners.remove((who, alone))


def _own(told: object) -> object:
    """What a hook may do with as it likes: figures are copied, for the run records its own."""
    return dict(told) if isinstance(told, Mapping) else told
