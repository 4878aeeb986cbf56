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
    return judge.compute()


def diagnose(
    teacher: nn.Module, method: Method, rows: Subset, *, debias: bool, device: torch.device
) -> dict[str, float]:
    """What each explainer says of its own trustworthiness, as "ig.completeness_error"."""
    batch = rows.batch(range(min(ROWS, len(rows))), device=device)
    with isolated(teacher):
        prediction = predict(teacher, batch.image, method, debias=debias)
        return {
            f"{reference}.{name}": value
            for reference, explainer in method.explainers.items()
            for name, value in explainer.diagnose(teacher, batch.image, prediction).items()  # type: ignore[arg-type]
        }
