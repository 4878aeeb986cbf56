"""From a run to files that agree with it, or to none."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from pseudolabel_kit.engine.predict import load
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.export.comparison import require_agreement
from pseudolabel_kit.export.facts import as_text
from pseudolabel_kit.export.formats import Format
from pseudolabel_kit.export.graph import Probabilities, traced
from pseudolabel_kit.files import written_aside


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that was written.

    Attributes:
        size: bytes.
        difference: the largest, of a probability, to what the network itself answered.
    """

    path: Path
    size: int
    difference: float


def export(
    run: str | PathLike[str],
    targets: Mapping[Path, Format],
    *,
    which: str = "best",
    overwrite: bool = False,
) -> list[Exported]:
    """Write a run's network into files that need no knowledge of this kit.

    Each is written aside, read again, and compared with the network; all of them take their
    places, or none does.

    Args:
        run: the run, or its folder.
        targets: the files and their formats.
        which: "best" on val, "last", or a step that has a checkpoint.
        overwrite: replace files that are there already.

    Raises:
        ConfigError: a format needs an extra that is not installed.
        RunError: a file is there, cannot be written or differs; the network cannot be exported.
    """
    for path, format_ in targets.items():
        format_.require()
        if path.is_dir():
            raise RunError(f"{path}: is a folder; expected a file")
        if path.exists() and not overwrite:
            raise RunError(f"{path}: exists already; replace it with --overwrite")
    predictor = load(run, which=which)
    backbone = predictor.config.method.backbone
    network, facts = Probabilities(predictor.model, predictor.task), as_text(predictor)
    program = traced(network, backbone)
    written = []
    with ExitStack() as asides:
        for path, format_ in targets.items():
            aside = asides.enter_context(written_aside(path))
            format_.write(program, aside, facts, backbone)
            difference = require_agreement(network, format_.read(aside), path)
            size = aside.stat().st_size
            written.append(Exported(path=path, size=size, difference=difference))
    return written
