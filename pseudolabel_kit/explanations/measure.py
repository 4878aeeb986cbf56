"""All measures of a run's explanations on one side of the split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from pseudolabel_kit.attribution import Baseline
from pseudolabel_kit.audit.evidence import Kept, answered
from pseudolabel_kit.audit.findings import Rows
from pseudolabel_kit.audit.parts import choose
from pseudolabel_kit.audit.sweep import Told, explained, naming, opened, rows_of
from pseudolabel_kit.data.store import Subset
from pseudolabel_kit.engine.bootstrap import times
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.predict import load
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.explanations.agreement import agreement
from pseudolabel_kit.explanations.asker import Asker
from pseudolabel_kit.explanations.columns import (
    Columns,
    Gathered,
    curves,
    groups,
    on_lesions,
    pairs,
)
from pseudolabel_kit.explanations.located import energy_inside, pointing_game, tolerance_of
from pseudolabel_kit.explanations.sample import sample, with_lesion
from pseudolabel_kit.interfaces import Batch, Explainer, Split
from pseudolabel_kit.report.explained import CHANCE, Explanations

ROWS, STEPS = 256, 20
DRAWS = 4  # random orders behind chance


def explanations(
    run: str | PathLike[str],
    split: Split = "val",
    *,
    explainer: str | None = None,
    which: str = "best",
    rows: int = ROWS,
    steps: int = STEPS,
    baseline: Baseline | None = None,
    told: Told | None = None,
) -> Explanations:
    """Measure a run's explanations and write `explanations-<split>.json` into its folder.

    Args:
        run: the run, or its folder.
        split: whose images, and whose truth.
        explainer: a list of references; None = the run's own.
        which: "best" on val, "last", or a step that has a checkpoint.
        rows: at most so many images, drawn by the run's seed; lesions keep their share.
        steps: portions of pixels in which images are taken apart.
        baseline: what a removed pixel becomes, and from what insertion begins; None = the image's
            mean, and the blurred image.
        told: (what is done, rows done, rows in all).

    Raises:
        RunError: the folder holds no run or no sound checkpoint, or the data changed.
        DataError: the split holds no rows.
        ConfigError, PluginError: a reference is misspelt, a part does not fit or fails, or
            there is no explainer.
    """
    predictor, folder = load(run, which=which), RunFolder(Path(run))
    parts = choose(predictor, explainer, None).explainers
    if not parts:
        raise ConfigError("--explanations: the run has no explainer; name some with --explainer")
    store, splits = opened(predictor, folder, told)
    side = store.subset(splits.side(split, predictor.config.data.source), implied=False)
    drawn = sample(with_lesion(side), rows, predictor.config.train.seed)
    chosen = store.subset([side.indices[i] for i in drawn], implied=False)
    maps = explained(predictor, parts, chosen, folder, told)
    asker = Asker(predictor=predictor, steps=steps, baseline=baseline)
    columns = measure(asker, parts, maps, chosen, naming(told, "measuring explanations"))
    known = rows_of(chosen)
    found = _summary(asker, on_lesions(columns, known), known, split, len(side))
    folder.write_json(f"explanations-{split}.json", asdict(found))
    return found


def _summary(
    asker: Asker, columns: Columns, rows: Rows, split: str, available: int
) -> Explanations:
    predictor = asker.predictor
    config, task = predictor.config, predictor.task
    drawn = times(rows.patients, config.evaluate.bootstrap, config.train.seed)
    return Explanations(
        split=split,
        step=predictor.step,
        rows=len(rows),
        available=available,
        patients=int(rows.patients.max(initial=0)),
        tolerance=tolerance_of(max(task.size)),
        size=task.size,
        baseline=asker.baseline,
        groups=groups(columns, rows, task.classes, drawn),
        curves=curves(columns),
        pairs=pairs(columns),
    )


def measure(
    asker: Asker,
    explainers: Mapping[str, Explainer],
    maps: Mapping[str, Kept],
    rows: Subset,
    progress: Callable[[int, int], None] | None = None,
) -> Columns:
    """Every measure of every row, of each explainer's maps and of one that knows nothing."""
    seen = Gathered()
    for chosen, batch, prediction in answered(asker.predictor, rows):
        planes = {n: _plane(each.rows(chosen, batch.image.device).map) for n, each in maps.items()}
        flat = torch.ones_like(batch.image[:, 0])
        for name, plane in (planes | {CHANCE: flat}).items():
            seen.add(name, _located(batch, plane))
            draws = DRAWS if name == CHANCE else 1
            given = (batch.image, prediction, plane, rows.names[chosen], draws)
            seen.add(name, asker.faithful(*given))
        for name, explainer in explainers.items():
            seen.add(name, [("sensitivity", asker.sensitive(batch.image, explainer))])
            seen.add(name, _agreeing(name, planes))
        if progress:
            progress(chosen.stop, len(rows))
    return seen.columns


def _plane(maps: Tensor) -> Tensor:
    """(B,H,W): of several mask channels the one that says most at each place."""
    return maps.amax(dim=1)


def _located(batch: Batch, maps: Tensor) -> Iterator[tuple[str, Tensor]]:
    known = batch.has_mask[:, None, None]
    lesion = (batch.mask > 0.5).any(dim=1) & known
    yield "pointing", pointing_game(maps, lesion, tolerance_of(max(maps.shape[1:])))
    yield "energy", energy_inside(maps, lesion)


def _agreeing(name: str, planes: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    others = {n: agreement(planes[name], other) for n, other in planes.items() if n != name}
    yield from ((f"pair/{other}", found) for other, found in others.items())
    if others:
        yield "agreement", torch.stack(list(others.values())).nanmean(dim=0)
