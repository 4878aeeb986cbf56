"""The work behind `plk train`: layers into a configuration, a run, and what is said at its end."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pseudolabel_kit.cli.console import err, out
from pseudolabel_kit.cli.display import Display, decoding
from pseudolabel_kit.config import Config
from pseudolabel_kit.engine.run import Run, configure, train
from pseudolabel_kit.layers import assignment, overlay, read_toml
from pseudolabel_kit.report.records import read_evaluations
from pseudolabel_kit.report.tables import measures_table


def start(
    toml: Path | None,
    flags: Mapping[str, Any],
    settings: list[str],
    *,
    out: Path | None,
    overwrite: bool,
) -> int:
    """Train a new run; the exit code."""
    config = _config(toml, flags, settings)
    with ExitStack() as stack:
        run = train(
            config,
            out=out,
            overwrite=overwrite,
            observers=(Display(),),
            progress=decoding(stack),
        )
    return _tell(run)


def go_on(folder: Path) -> int:
    """Go on with a run; the exit code."""
    with ExitStack() as stack:
        run = train(out=folder, resume=True, observers=(Display(),), progress=decoding(stack))
    return _tell(run)


def dry(toml: Path | None, flags: Mapping[str, Any], settings: list[str]) -> None:
    """Print the configuration that a run would have."""
    out.print(_config(toml, flags, settings).to_toml(), end="", markup=False, soft_wrap=True)


def _config(toml: Path | None, flags: Mapping[str, Any], settings: list[str]) -> Config:
    layers = [read_toml(toml)] if toml else []
    given: dict[str, Any] = {}
    for key, value in flags.items():
        layer: dict[str, Any] = {key.rpartition(".")[2]: value}
        if "." in key:
            layer = {key.partition(".")[0]: layer}
        given = overlay(given, layer)
    return configure(*layers, given, *map(assignment, settings))


def _tell(run: Run) -> int:
    if run.interrupted is not None:
        hint = f"stopped; go on with: plk train --resume {run.folder}"
        err.print(hint, markup=False, soft_wrap=True)
        return 128 + run.interrupted
    if evaluations := read_evaluations(run.folder):
        out.print(measures_table(evaluations))
    out.print(f"report: {run.folder / 'report.html'}", markup=False, soft_wrap=True)
    out.print(f"next:   plk evaluate {run.folder} --split test", markup=False, soft_wrap=True)
    return 0
