"""What a run folder holds, read for a report: every piece may be missing, none may be damaged."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from pseudolabel_kit.engine.evaluate import Evaluation
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.report.explained import Explanations

Json: TypeAlias = Mapping[str, Any]
T = TypeVar("T")
S = TypeVar("S", Evaluation, Explanations)

_EVALUATION = TypeAdapter(Evaluation)
_EXPLANATIONS = TypeAdapter(Explanations)
_ORDER = {"test": 0, "val": 1}


@dataclass(frozen=True, kw_only=True)
class Records:
    """A run folder's contents; what is not there is empty or None.

    Attributes:
        name: the folder's name.
        toml: `run.toml` as written.
        config: its tables.
        provenance: `provenance.json`.
        steps, epochs, audits, events: the lines of `metrics.jsonl` by kind.
        evaluations, explanations: test first, then val, then the others.
        strips: the arrays of `strips.npz` by name.
        captions: `strips.json`: lists along the strips.
    """

    name: str
    toml: str
    config: Json
    provenance: Json
    steps: Sequence[Json]
    epochs: Sequence[Json]
    audits: Sequence[Json]
    events: Sequence[Json]
    evaluations: Sequence[Evaluation]
    explanations: Sequence[Explanations]
    strips: Mapping[str, NDArray[Any]]
    captions: Json


def read_records(run: Path) -> Records:
    """Read a run folder.

    Raises:
        RunError: it is no run folder, or one of its files is damaged.
    """
    if not (run / "run.toml").is_file():
        raise RunError(f"{run}: not a run: there is no run.toml in it")
    toml = read_text(run / "run.toml")
    lines = _lines(run / "metrics.jsonl")
    kinds = {
        kind: [line for line in lines if line.get("kind") == kind]
        for kind in ("step", "epoch", "audit", "event")
    }
    return Records(
        name=run.resolve().name,
        toml=toml,
        config=parsed(run / "run.toml", toml, tomllib.loads),
        provenance=read_json(run / "provenance.json"),
        steps=kinds["step"],
        epochs=kinds["epoch"],
        audits=kinds["audit"],
        events=kinds["event"],
        evaluations=read_evaluations(run),
        explanations=_by_split(run, "explanations", _EXPLANATIONS.validate_json),
        strips=read_arrays(run / "strips.npz"),
        captions=read_json(run / "strips.json"),
    )


def read_evaluations(run: Path) -> list[Evaluation]:
    """What was measured of a run: test first, then val, then the others.

    Raises:
        RunError: a file is damaged.
    """
    return _by_split(run, "evaluation", _EVALUATION.validate_json)


def _by_split(run: Path, kind: str, parse: Callable[[str], S]) -> list[S]:
    found = [parsed(path, read_text(path), parse) for path in run.glob(f"{kind}-*.json")]
    return sorted(found, key=lambda each: (_ORDER.get(each.split, 2), each.split))


def _lines(path: Path) -> list[Json]:
    if not path.exists():
        return []
    whole, _, _torn = read_text(path).rpartition("\n")  # a killed run may leave half a line
    return [
        parsed(f"{path}, line {number}", line, json.loads)
        for number, line in enumerate(whole.splitlines(), 1)
    ]


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file by name; nothing where there is no such file.

    Raises:
        RunError: it is damaged.
    """
    if not path.exists():
        return {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, EOFError, BadZipFile) as error:
        raise RunError(f"{path}: damaged: {error}") from None
    except ValueError:  # whose text would advise to unpickle it
        raise RunError(f"{path}: damaged: not an archive of arrays") from None


def read_json(path: Path) -> Json:
    """A JSON file; nothing where there is no such file.

    Raises:
        RunError: it is damaged.
    """
    return parsed(path, read_text(path), json.loads) if path.exists() else {}


def read_text(path: Path) -> str:
    """A text file in UTF-8.

    Raises:
        RunError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from None


def parsed(where: object, text: str, parse: Callable[[str], T]) -> T:
    """What `parse` makes of a text.

    Raises:
        RunError: it is damaged; the message begins with `where`.
    """
    try:
        return parse(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise RunError(f"{where}: damaged: {key}: {first['msg']}") from None
    except ValueError as error:
        raise RunError(f"{where}: damaged: {error}") from None
