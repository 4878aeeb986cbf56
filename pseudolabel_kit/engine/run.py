"""`train`: a configuration in, a run folder out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from signal import SIGTERM
from typing import Any

from lightning_fabric import Fabric

from pseudolabel_kit.config import Config
from pseudolabel_kit.data.source import open_store
from pseudolabel_kit.data.splits import Splits
from pseudolabel_kit.data.store import Store
from pseudolabel_kit.engine import cost, strips
from pseudolabel_kit.engine.checkpoint import Progress, newest
from pseudolabel_kit.engine.evaluate import measure, write_evaluation
from pseudolabel_kit.engine.failure import resumable
from pseudolabel_kit.engine.feed import Feed
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.log import Log
from pseudolabel_kit.engine.loop import Loop
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.engine.predict import load
from pseudolabel_kit.engine.provenance import FILE, occasion, provenance, require_same_data
from pseudolabel_kit.engine.seeding import prefer_determinism
from pseudolabel_kit.engine.setup import (
    can_join,
    make_average,
    make_clock,
    make_fabric,
    make_frozen,
    make_learner,
    make_optimiser,
    make_streams,
    make_task,
    rehearse,
    require_even_batches,
)
from pseudolabel_kit.engine.signals import stop_requests
from pseudolabel_kit.errors import DataError, PluginError, RunError
from pseudolabel_kit.layers import read_toml, resolve
from pseudolabel_kit.plugin import Tracker
from pseudolabel_kit.plugin.blame import RefusedError, blamed
from pseudolabel_kit.plugin.build import build, read_recipe
from pseudolabel_kit.plugin.catalogue import catalogue
from pseudolabel_kit.plugin.hooks import Outcome
from pseudolabel_kit.plugin.reference import parse_list
from pseudolabel_kit.report.page import write_report
from pseudolabel_kit.report.records import read_records


@dataclass(frozen=True)
class Run:
    """What observers and callers are shown of a run.

    Attributes:
        interrupted: the signal that stopped it before its end, or None.
    """

    folder: Path
    config: Config
    steps: int
    interrupted: int | None = None

    def __fspath__(self) -> str:
        """The folder, so that a run can be given wherever its folder can."""
        return str(self.folder)


def configure(*layers: Mapping[str, Any], recipe: str | None = None) -> Config:
    """The defaults, then the recipe that the layers name (or `recipe`), then the layers.

    Raises:
        ConfigError: a key is unknown or a value out of range.
        PluginError: there is no such recipe.
    """
    named = [layer["recipe"] for layer in layers if "recipe" in layer]
    name = str(recipe or [Config().recipe, *named][-1])
    return resolve(read_recipe(name), *layers, {"recipe": name})


def train(
    config: Config | Mapping[str, Any] | str | Path | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    observers: tuple[object, ...] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Train by a configuration and return the run.

    Args:
        config: a `Config`, tables over the default recipe, or the path of a TOML file of them.
        out: the run's folder; by default a new one under runs/.
        resume: go on with the run in `out`, bit for bit as if it had never stopped.
        overwrite: replace the run in `out`.
        observers: objects with observing hooks, as plugins have them.
        progress: told (rows decoded, rows in all) where images have to be decoded first.

    Raises:
        ConfigError, PluginError, DataError, RunError: see each; the message names the fix.

    Example::

        run = train({"train": {"steps": 100}}, out="runs/short")
        evaluate(run, "test").measures["dice"]
    """
    prefer_determinism()
    chosen = _configuration(config, out, resume=resume)
    if out is not None and not resume:
        RunFolder(Path(out)).refuse(overwrite=overwrite)
    method = Method.build(chosen.method)
    strips.explainers(chosen)  # refused now where misspelt, not when the run is over
    trackers = [build("tracker", each) for each in parse_list(chosen.train.tracker)]
    data = open_store(chosen.data, progress)
    fabric = make_fabric(chosen)
    fabric.launch()
    folder = RunFolder(Path(fabric.broadcast(str(out or default_folder(chosen)))))
    goes_on = resume and folder.trained()
    loop = assemble(chosen, method, data, fabric, folder, observers, resume=goes_on)
    try:
        _claim(loop, data, trackers, resume=resume, overwrite=overwrite)
        return _train(loop, resume=resume)
    finally:
        folder.unlock()


def default_folder(config: Config) -> Path:
    """A new folder under runs/, named by the time and the fuser."""
    fuser = config.method.fuser.partition(":")[0].replace("/", "-")
    return Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{fuser}"


def _configuration(
    config: Config | Mapping[str, Any] | str | Path | None, out: str | Path | None, *, resume: bool
) -> Config:
    if resume:
        if out is None:
            raise RunError("resume needs the run's folder: expected --resume RUN")
        return RunFolder(Path(out)).config()
    if isinstance(config, Config):
        return config
    if isinstance(config, str | Path):
        return configure(read_toml(Path(config)))
    return configure(config or {})


def _claim(
    loop: Loop,
    data: tuple[Store, Splits],
    trackers: Sequence[Tracker],
    *,
    resume: bool,
    overwrite: bool,
) -> None:
    """The first process makes the folder its own; where it cannot, every process ends."""
    folder, problem = loop.folder, None
    if loop.fabric.is_global_zero:
        try:
            for tracker in trackers:
                _observe(loop, tracker)
            folder.reopen() if resume else folder.create(loop.config, overwrite=overwrite)
            if folder.trained():
                origin = require_same_data(folder, loop.config.data.source, *data)
                origin["resumed"].append(occasion(loop.fabric))
            else:  # a new run, or one that was killed before its first checkpoint
                origin = provenance(loop.config, *data, loop.fabric, loop.learner)
            folder.write_json(FILE, origin)
        except (DataError, PluginError, RunError) as error:
            problem = error
    if problem := loop.fabric.broadcast(problem):
        raise problem


def _observe(loop: Loop, tracker: Tracker) -> None:
    """From now on tell a tracker of the run.

    Raises:
        PluginError: it refuses, fails, or what it made is no observer.
    """
    with blamed(tracker, "observe"):
        observer = tracker.observe(loop.log.run)
        try:
            loop.log.observers.add(tracker.origin, observer)
        except PluginError as error:
            raise RefusedError(f"a {type(observer).__name__}: {error}") from error


def _train(loop: Loop, *, resume: bool) -> Run:
    fabric, folder = loop.fabric, loop.folder
    run, observed = loop.log.run, loop.log.observers
    outcome: Outcome = "failed"
    try:
        observed.run_started(run)
        hashed = folder.config_hash()
        found = newest(folder.checkpoints, hashed, warn=loop.warn) if resume else None
        if found:
            loop.restore(found)
        elif fabric.is_global_zero:
            folder.rewind(0)  # what was logged before the first checkpoint will be logged again
        with resumable(loop):
            with stop_requests() as stop:
                ended = loop.run(stop)
            outcome = "finished" if ended else "interrupted"
            if ended and fabric.is_global_zero:
                conclude(folder, loop)
        fabric.barrier()
    except KeyboardInterrupt:  # a second one: the first waits for the step
        outcome = "interrupted"
        raise
    finally:
        observed.run_ended(run, outcome)
    stopped = None if ended else stop.number or int(SIGTERM)
    return Run(folder.path, loop.config, run.steps, stopped)


def assemble(
    config: Config,
    method: Method,
    data: tuple[Store, Splits],
    fabric: Fabric,
    folder: RunFolder,
    observers: tuple[object, ...] = (),
    *,
    resume: bool = False,
) -> Loop:
    """Everything of a run, ready for its first step; nothing has been written yet."""
    require_even_batches(config, fabric.world_size)
    store, splits = data
    clock = make_clock(config, splits)
    audited = method.fuser.reads != "nothing" and can_join(config, clock, splits)
    streams = make_streams(config, store, splits, audits=audited, calibrates=method.calibrates)
    task = make_task(config, store, method.backbone)
    learner = make_learner(config, method, task, fabric, pretrain=not resume)
    rehearse(learner)
    optimiser = make_optimiser(config, learner)
    wrapped, optimiser = fabric.setup(learner, optimiser)
    average = make_average(config, learner)
    frozen = make_frozen(config, learner)
    standing = Progress()
    run = Run(folder=folder.path, config=config, steps=clock.total)
    log = Log(
        run=run,
        folder=folder,
        observers=catalogue().observers(*(observers if fabric.is_global_zero else ())),
        progress=standing,
        mean_over_processes=learner.mean_over_processes,
        writes=fabric.is_global_zero,
        every=1 if fabric.device.type == "cpu" else 10,  # elsewhere each transfer waits
    )
    return Loop(
        config=config,
        fabric=fabric,
        clock=clock,
        streams=streams,
        feed=Feed(config=config, fabric=fabric, streams=streams, progress=standing),
        learner=learner,
        wrapped=wrapped,
        optimiser=optimiser,
        average=average,
        frozen=frozen,
        progress=standing,
        folder=folder,
        log=log,
    )


def conclude(folder: RunFolder, loop: Loop) -> None:
    """Say what the run cost, measure val, draw the strips, and write the report."""
    steps = read_records(folder.path).steps
    folder.write_json(cost.FILE, asdict(cost.cost(steps, loop.learner.model, loop.fabric)))
    predictor = load(folder.path)
    val = loop.streams.val
    if len(val):
        measures = measure(predictor.model, val, predictor.method, predictor.fabric)
        write_evaluation(folder, measures, "val", loop.config, predictor.step)
        strips.write_strips(folder, predictor, val)
    write_report(folder.path)
