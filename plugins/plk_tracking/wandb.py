"""Weights & Biases: one W&B run for each run, kept in the run's folder until it is sent."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from plk_tracking import told
from plk_tracking.memory import Memory
from plk_tracking.observer import Book, Observer
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.plugin import Level, Outcome, Run, Tracker

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # or it reports its crashes, with paths

try:
    import wandb
except ImportError as error:
    raise PluginError("install it: pip install 'pseudolabel-kit[wandb]'") from error

EXIT: Mapping[Outcome, int] = {"finished": 0, "interrupted": 130, "failed": 1}


@dataclass(frozen=True, kw_only=True)
class WandB(Tracker):
    """A W&B run in RUN/wandb; a run that goes on goes on with the same id.

    Offline it needs no login and no network; `wandb sync RUN/wandb/offline-run-*` sends it when
    you say so. W&B is told the figures and the configuration, not of this machine: no host, no
    user, no command line, no git, no packages, no console, no crash reports.

    Attributes:
        mode: offline writes files alone; online sends every figure at once, which needs a login.
        project: the W&B project.
        entity: the W&B user or team; empty = that of the login.
    """

    mode: Literal["offline", "online"] = "offline"
    project: str = "pseudolabel-kit"
    entity: str = ""

    def observe(self, run: Run) -> Observer:
        """An observer that writes through W&B's own process.

        Raises:
            PluginError: `mode` is online, and nobody is logged in.
        """
        try:
            if self.mode == "online" and not wandb.login():
                raise wandb.errors.UsageError("W&B is switched off")
        except wandb.errors.Error as error:
            why = " ".join(str(error).split()).rstrip(".")
            raise PluginError(
                f"{self.origin}: mode=online: {why}; expected `wandb login` before, or mode=offline"
            ) from error
        return Observer(self._open)

    def _open(self, run: Run, first: int) -> Book:
        memory = Memory.of(run)
        known = memory.recall("wandb") if first > 1 else {}
        run_id = known.get("run_id") or secrets.token_hex(4)
        memory.keep("wandb", run_id=run_id)
        opened = wandb.init(
            project=self.project,
            entity=self.entity or None,
            name=told.name(run),
            id=run_id,
            resume="allow" if known and self.mode == "online" else None,
            dir=str(run.folder),
            mode=self.mode,
            config=told.settings(run),
            reinit="create_new",  # a W&B run of the user's own, in this process, stays as it is
            settings=_discreet(),
        )
        # Steps that are taken once more would be refused as W&B's own count of steps.
        opened.define_metric("step")
        opened.define_metric("*", step_metric="step")
        return _WandBRun(opened)


class _WandBRun(Book):
    def __init__(self, run: wandb.Run) -> None:
        self._run = run

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log({"step": step, **figures})

    def event(self, step: int, level: Level, text: str) -> None:
        self._run.log({"step": step, f"event/{level}": text})

    def close(self, outcome: Outcome) -> None:
        self._run.finish(exit_code=EXIT[outcome])


def _discreet() -> wandb.Settings:
    """Nothing on the screen, nothing of the machine."""
    return wandb.Settings(
        silent=True,
        console="off",
        host="",
        disable_code=True,
        disable_git=True,
        save_code=False,
        symlink=False,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
