"""The work behind `plk compare`: a specification, a folder of runs, and what is said of them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from pseudolabel_kit.cli.board import Board
from pseudolabel_kit.cli.console import err, out
from pseudolabel_kit.cli.display import decoding
from pseudolabel_kit.compare import on_ray, pool
from pseudolabel_kit.compare.run import FILE, compare
from pseudolabel_kit.compare.spec import Spec, read_spec, spec_of
from pseudolabel_kit.compare.tables import terminal
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Split
from pseudolabel_kit.layers import assignment

HERE = "here"
SPREAD = {HERE: pool.spread, "ray": on_ray.spread}
FAILED = 1


def specification(
    toml: Path | None,
    recipes: str | None,
    parts: Mapping[str, str | None],
    *,
    seeds: int | None,
    split: Split | None,
    settings: list[str],
    quick: bool,
) -> tuple[Spec, str]:
    """What the command line asks for, and a name for its folder.

    Raises:
        ConfigError: it names a file and rows, neither, or parts of two kinds.
    """
    spec = _rows(toml, recipes, {kind: names for kind, names in parts.items() if names})
    name = toml.stem if toml else "-".join(row.slug for row in spec.rows)
    if quick:
        spec, name = spec.quickened(), f"{name}-quick"
    for text in settings:
        spec = spec.overlaid(assignment(text))
    given = {"seeds": tuple(range(seeds)) if seeds else None, "split": split}
    return spec.changed(**{key: value for key, value in given.items() if value}), name


def _rows(toml: Path | None, recipes: str | None, parts: Mapping[str, str]) -> Spec:
    if (toml is None) == (not recipes and not parts):
        raise ConfigError(
            "plk compare: expected either SPEC.TOML, or --recipe a,b and one of --backbone, "
            "--explainer and --fuser c,d"
        )
    if toml is not None:
        return read_spec(toml)
    if len(parts) > 1:
        first, second, *_ = parts
        raise ConfigError(
            f"plk compare: --{first} and --{second}: expected rows of one kind; "
            f"--set method.{first}=NAME is for every row, and a file holds any others"
        )
    kind, names = next(iter(parts.items()), ("fuser", ""))
    return spec_of(_listed(recipes), kind, _listed(names))


def _listed(names: str | None) -> list[str]:
    return [each.strip() for each in names.split(",")] if names else []


def start(spec: Spec, folder: Path, *, jobs: int | None, on: str, overwrite: bool) -> int:
    """Compare; the exit code."""
    with ExitStack() as stack:
        ended = compare(
            spec,
            folder,
            spread=partial(SPREAD[on], jobs=jobs),
            watcher=stack.enter_context(Board()),
            overwrite=overwrite,
            progress=decoding(stack),
        )
    if ended.comparison is None:
        again = again_by(folder, jobs=jobs, on=on, overwrite=overwrite)
        err.print(f"stopped; go on with: {again}", markup=False, soft_wrap=True)
        return 128 + (ended.interrupted or 0)
    out.print(terminal(ended.comparison))
    out.print(f"report: {folder / 'report.html'}", markup=False, soft_wrap=True)
    whole = all(r.state == "finished" for row in ended.comparison.rows for r in row.results)
    return 0 if whole else FAILED


def again_by(folder: Path, *, jobs: int | None, on: str, overwrite: bool) -> str:
    """The command line that goes on with a comparison.

    >>> again_by(Path("my runs"), jobs=2, on="here", overwrite=False)
    "plk compare 'my runs/compare.toml' --out 'my runs' --jobs 2"
    """
    words = ["plk", "compare", str(folder / FILE), "--out", str(folder)]
    words += ["--jobs", str(jobs)] if jobs else []
    words += ["--on", on] if on != HERE else []
    return shlex.join([*words, *(["--overwrite"] if overwrite else [])])
