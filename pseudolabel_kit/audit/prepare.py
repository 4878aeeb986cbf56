"""What training would have shown a fuser, shown to one that the run did not have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from pseudolabel_kit.audit.evidence import ROWS, answered, kept, raw
from pseudolabel_kit.audit.findings import Fitted
from pseudolabel_kit.audit.parts import Parts
from pseudolabel_kit.data.splits import Splits, weakly_labelled
from pseudolabel_kit.data.store import Store, Subset
from pseudolabel_kit.engine import guard
from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.interfaces import Batch, Evidence, Fuser, Prediction
from pseudolabel_kit.isolate import isolated


def prepare(
    predictor: Predictor, parts: Parts, store: Store, splits: Splits, folder: Path
) -> dict[str, Fitted]:
    """Let fusers survey the training rows and be calibrated on val, as far as they do either.

    So a fuser that calibrates is judged too kindly where val is what is audited. The run's own
    keeps what it had learned, but is calibrated anew where other explainers are asked.

    Args:
        folder: where evidence is kept.

    Returns:
        To which side each fuser that calibrates was fitted; those that never were are left out.
    """
    own, asked = predictor.method, parts.explainers.keys()
    fitted: dict[str, Fitted] = {}
    for name, fuser in parts.fusers.items():
        method = replace(own, fuser=fuser)
        foreign = fuser is not own.fuser
        if method.surveys and foreign:
            survey(predictor, fuser, store, splits)
        if not method.calibrates:
            continue
        if not foreign and learnt(fuser) != learnt(unfitted(fuser)):
            fitted[name] = "labelled"
        if foreign or asked != own.explainers.keys():
            before = learnt(fuser)
            calibrate(predictor, parts, fuser, store.subset(splits.val), folder)
            if learnt(fuser) != before:
                fitted[name] = "val"
    return fitted


def learnt(fuser: Fuser) -> dict[str, bytes]:
    """What a fuser keeps, by name: a fit that found nothing leaves it as it was."""
    found = {} if fuser.state is None else fuser.state.state_dict()
    return {name: raw(tensor) for name, tensor in found.items()}


def unfitted(fuser: Fuser) -> Fuser:
    """The same fuser as it stands when a run begins."""
    fresh = replace(fuser)
    guard.begin(fresh, fuser.task)
    return fresh


def survey(predictor: Predictor, fuser: Fuser, store: Store, splits: Splits) -> None:
    """Let a fuser that labels by the whole pool look at it, as at the start of a round."""
    data, device = predictor.config.data, predictor.fabric.device
    labelled = store.subset(splits.labelled)
    weak = weakly_labelled(store.rows, splits.unlabelled, data.weak_labels, data.seed)
    unlabelled = store.subset(splits.unlabelled, labels=weak, masks=False)
    with isolated(predictor.model), torch.no_grad(), predictor.fabric.autocast():
        guard.survey(
            fuser,
            predictor.model,
            labelled.batches(ROWS, device),
            unlabelled.batches(ROWS, device),
        )


def calibrate(predictor: Predictor, parts: Parts, fuser: Fuser, rows: Subset, folder: Path) -> None:
    """Let a fuser learn from val, which nothing was trained on."""
    asked = parts.explainers if fuser.reads == "evidence" else {}
    maps = {name: kept(predictor, name, part, rows, folder) for name, part in asked.items()}

    def shown() -> Iterator[tuple[Prediction, dict[str, Evidence], Batch]]:
        for chosen, batch, prediction in answered(predictor, rows):
            device = batch.image.device
            yield prediction, {name: m.rows(chosen, device) for name, m in maps.items()}, batch

    guard.calibrate(fuser, shown())
