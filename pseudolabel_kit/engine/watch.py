"""Watching the pseudo labels: before L_u begins, and after every epoch."""

from __future__ import annotations

import torch
from torch import nn

from pseudolabel_kit.data.store import Subset
from pseudolabel_kit.engine.audit import Audit, Record
from pseudolabel_kit.engine.label import predict, pseudo_label
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.isolate import isolated

ROWS = 16


def audit(
    teacher: nn.Module, method: Method, rows: Subset, *, debias: bool, device: torch.device
) -> Record:
    """Label rows as they are, without augmentation, and judge the labels by what is known.

    Never touches a training stream: `rows` may know the truth of unlabelled rows.
    """
    judge = Audit(method.backbone.task.lesion_classes)
    for start in range(0, len(rows), ROWS):
        batch = rows.batch(range(start, min(start + ROWS, len(rows))), device=device)
        found = pseudo_label(teacher, method, batch.image, debias=debias)
        judge.update(found.pseudo, found.prediction, found.evidence, batch)
    return judge.compute() | diagnose(teacher, method, rows, debias=debias, device=device)


def diagnose(
    teacher: nn.Module, method: Method, rows: Subset, *, debias: bool, device: torch.device
) -> Record:
    """What each explainer that is read says of its own maps: "ig.completeness_error"."""
    if not len(rows) or method.fuser.reads != "evidence":
        return {}
    batch = rows.batch(range(min(ROWS, len(rows))), device=device)
    with isolated(teacher):
        prediction = predict(teacher, batch.image, method, debias=debias)
        return {
            f"{reference}.{name}": value
            for reference, explainer in method.explainers.items()
            for name, value in explainer.diagnose(teacher, batch.image, prediction).items()  # type: ignore[arg-type]
        }


def labelled_share(rows: Subset) -> float | None:
    """The share of foreground in the masks of labelled rows; None where none has a mask."""
    total, count = 0.0, 0
    for start in range(0, len(rows), ROWS):
        batch = rows.batch(range(start, min(start + ROWS, len(rows))))
        total += float(batch.mask[batch.has_mask].mean(dim=(1, 2, 3)).sum())
        count += int(batch.has_mask.sum())
    return total / count if count else None
