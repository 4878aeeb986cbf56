"""One pass over the images: all evidence and all labels against the truth."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pseudolabel_kit.audit.evidence import Kept, answered, kept
from pseudolabel_kit.audit.findings import DECODER, Findings, Fitted, Judged, Rows
from pseudolabel_kit.audit.parts import Parts, choose
from pseudolabel_kit.audit.prepare import prepare
from pseudolabel_kit.data.source import open_store
from pseudolabel_kit.data.splits import Splits
from pseudolabel_kit.data.store import Store, Subset
from pseudolabel_kit.engine import checkpoint, guard
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.pixels import Array, Tally, lesion_free
from pseudolabel_kit.engine.predict import Predictor, load
from pseudolabel_kit.engine.provenance import require_same_data
from pseudolabel_kit.engine.strips import spread
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.interfaces import Batch, Explainer, Prediction, PseudoLabels, Split

ROWS = 256
Told = Callable[[str, int, int], None]


@dataclass
class _Seen:
    """What one map or label showed so far, batch by batch."""

    tallies: list[Tally] = field(default_factory=list)
    columns: dict[str, list[Array]] = field(default_factory=dict)

    def add(self, **values: Array) -> None:
        for name, value in values.items():
            self.columns.setdefault(name, []).append(value)

    def judged(self, name: str, kind: str, **more: object) -> Judged:
        joined = {key: np.concatenate(parts) for key, parts in self.columns.items()}
        tally = Tally.joined(self.tallies) if self.tallies else None
        return Judged(name=name, kind=kind, tally=tally, **joined, **more)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Audited:
    """A frozen model with the parts that are judged on it, and their evidence.

    `findings` judges; `rows` and `kept` are there so that pictures can be made of some.
    """

    predictor: Predictor
    parts: Parts
    rows: Subset
    kept: Mapping[str, Kept]
    findings: Findings


def audit(
    run: str | PathLike[str],
    *,
    split: Split = "unlabelled",
    explainer: str | None = None,
    fuser: str | None = None,
    which: str = "best",
    rows: int = ROWS,
    told: Told | None = None,
) -> Audited:
    """Judge explainers and fusers on a run's frozen model, reading the truth of one split.

    Fusers are first shown what training would have shown them: see `prepare`.

    Args:
        run: the run, or its folder.
        split: whose images, and whose truth.
        explainer, fuser: lists of references; None = the run's own.
        which: "best" on val, "last", or a step that has a checkpoint.
        rows: at most so many images, evenly spread over the split.
        told: (what is done, rows done, rows in all) while images are decoded, explained, judged.

    Raises:
        RunError: the folder holds no run or no such checkpoint, or the data changed.
        DataError: the split holds no rows.
        ConfigError, PluginError: a reference is misspelt, or a part does not fit or fails.
    """
    predictor, folder = load(run, which=which), RunFolder(Path(run))
    parts = choose(predictor, explainer, fuser)
    store, splits = opened(predictor, folder, told)
    side = splits.side(split, predictor.config.data.source)
    chosen = store.subset(spread(list(side), rows))
    maps = explained(predictor, parts.explainers, chosen, folder, told)
    fitted = prepare(predictor, parts, store, splits, folder.evidence)
    judging = naming(told, "judging")
    decoder, evidence, labels = judge(predictor, parts, chosen, maps, fitted, judging)
    findings = Findings(
        run=named(folder.path),
        split=split,
        step=predictor.step,
        classes=store.classes,
        rows=rows_of(chosen),
        available=len(side),
        seed=predictor.config.train.seed,
        decoder=decoder,
        evidence=evidence,
        labels=labels,
    )
    return Audited(predictor=predictor, parts=parts, rows=chosen, kept=maps, findings=findings)


def explained(
    predictor: Predictor,
    explainers: Mapping[str, Explainer],
    rows: Subset,
    folder: RunFolder,
    told: Told | None,
) -> dict[str, Kept]:
    """The evidence of each explainer for the rows, made once and kept in the run's folder."""
    found = {}
    for reference, part in explainers.items():
        progress = naming(told, f"explaining with {reference}")
        found[reference] = kept(predictor, reference, part, rows, folder.evidence, progress)
    return found


def opened(predictor: Predictor, folder: RunFolder, told: Told | None) -> tuple[Store, Splits]:
    """The run's data, as they were when it was trained."""
    data = predictor.config.data
    store, splits = open_store(data, naming(told, "decoding images"))
    require_same_data(folder, data.source, store, splits)
    return store, splits


def method_of(run: Path) -> Path:
    """The folder of the method that a comparison's cell, METHOD/seedN, is of; else the run's."""
    return run.parent if re.fullmatch(r"seed\d+", run.name) else run


def named(run: Path) -> str:
    """A run's name; that of a comparison's cell has its method before its seed."""
    path = run.resolve()
    return str(path.relative_to(method_of(path).parent))


def checkpoints(run: str | PathLike[str], which: str) -> list[str]:
    """What "all" stands for: every step that has a checkpoint, in order.

    Raises:
        RunError: the folder holds no run, or no checkpoint.
    """
    folder = RunFolder(Path(run))
    folder.config()
    if which != "all":
        return [which]
    steps = checkpoint.steps(folder.checkpoints)
    if not steps:
        raise RunError(f"{folder.path}: holds no checkpoint yet; train it with --resume")
    return [str(step) for step in steps]


def judge(
    predictor: Predictor,
    parts: Parts,
    rows: Subset,
    maps: Mapping[str, Kept],
    fitted: Mapping[str, Fitted],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Judged | None, list[Judged], list[Judged]]:
    """The decoder, the evidence and the labels of all rows against what is known of them."""
    decoder, evidence = _Seen(), {name: _Seen() for name in maps}
    labels = {name: _Seen() for name in parts.fusers}
    for chosen, batch, prediction in answered(predictor, rows):
        found = {name: each.rows(chosen, batch.image.device) for name, each in maps.items()}
        lesion = (batch.mask.cpu() > 0.5) & batch.has_mask.cpu()[:, None, None, None]
        if prediction.mask_logits is not None:
            own = prediction.mask_logits.float().sigmoid().cpu()
            decoder.tallies.append(Tally.of(own, lesion))
        for name, each in found.items():
            evidence[name].tallies.append(Tally.of(each.map.cpu().expand_as(lesion), lesion))
        for name, fuser in parts.fusers.items():
            pseudo = guard.fuse(fuser, prediction, found, batch.image)
            _judge_label(labels[name], pseudo, prediction, lesion, batch)
        if progress:
            progress(chosen.stop, len(rows))
    return (
        decoder.judged(DECODER, "decoder") if decoder.tallies else None,
        [seen.judged(name, "explainer", told=maps[name].told) for name, seen in evidence.items()],
        [seen.judged(name, "fuser", fitted=fitted.get(name)) for name, seen in labels.items()],
    )


def taught_mask(pseudo: PseudoLabels, prediction: Prediction) -> tuple[Tensor, Tensor] | None:
    """The label (B,K,H,W), the decoder's own answer where nothing is taught, and where it is."""
    if pseudo.mask is None or pseudo.mask_weight is None:
        return None
    taught = (pseudo.mask_weight > 0).expand_as(pseudo.mask).cpu()
    label = pseudo.mask.float().cpu()
    if prediction.mask_logits is not None:
        label = torch.where(taught, label, prediction.mask_logits.float().sigmoid().cpu())
    return label, taught


def _judge_label(
    seen: _Seen, pseudo: PseudoLabels, prediction: Prediction, lesion: Tensor, batch: Batch
) -> None:
    if (masks := taught_mask(pseudo, prediction)) is not None:
        label, taught = masks
        seen.tallies.append(Tally.of(label, lesion))
        wrong = taught & ((label >= 0.5) != lesion)
        seen.add(taught=_share(taught), wrong=_share(wrong))
    if pseudo.label is not None and pseudo.label_weight is not None:
        right = pseudo.label.argmax(dim=1) == batch.label
        seen.add(
            class_taught=(pseudo.label_weight > 0).cpu().double().numpy(),
            class_right=right.cpu().double().numpy(),
        )


def _share(pixels: Tensor) -> Array:
    share: Array = pixels.flatten(1).double().mean(dim=1).numpy()
    return share


def rows_of(rows: Subset) -> Rows:
    """What is known of the rows; patients become numbers."""
    numbers: dict[str, int] = {}
    labels, masked, free = [], [], []
    for batch in rows.batches(64):
        labels.append(torch.where(batch.has_label, batch.label, -1))
        masked.append(batch.has_mask)
        free.append(lesion_free(batch))
    return Rows(
        names=rows.names,
        patients=np.array(
            [0 if p is None else numbers.setdefault(p, len(numbers) + 1) for p in rows.patients],
            dtype=np.int64,
        ),
        labels=torch.cat(labels).numpy(),
        masked=torch.cat(masked).numpy(),
        free=torch.cat(free).numpy(),
    )


def naming(told: Told | None, what: str) -> Callable[[int, int], None] | None:
    """A callback for one kind of work, (rows done, rows in all); None where nobody is told."""
    return None if told is None else lambda done, total: told(what, done, total)
