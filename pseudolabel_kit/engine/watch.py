"""Watching the pseudo labels: before L_u begins, and after every epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from pseudolabel_kit.data.store import Subset
from pseudolabel_kit.engine import guard
from pseudolabel_kit.engine.audit import Audit, Record
from pseudolabel_kit.engine.guard import Failed
from pseudolabel_kit.engine.label import explain, predict, pseudo_label
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.interfaces import Batch, Evidence, Prediction
from pseudolabel_kit.isolate import isolated

ROWS = 16


def audit(
    teacher: nn.Module,
    method: Method,
    rows: Subset,
    *,
    debias: bool,
    device: torch.device,
    failed: Failed | None = None,
) -> Record:
    """Label rows as they are, without augmentation, and judge the labels by what is known.

    Never touches a training stream: `rows` may know the truth of unlabelled rows. Where
    `failed` is given, explainers that fail are left out and noted there.
    """
    judge = Audit()
    for batch in rows.batches(ROWS, device):
        found = pseudo_label(teacher, method, batch.image, debias=debias, failed=failed)
        judge.update(found.pseudo, found.prediction, found.evidence, batch)
    told = diagnose(teacher, method, rows, debias=debias, device=device, failed=failed)
    return judge.compute() | told


def diagnose(
    teacher: nn.Module,
    method: Method,
    rows: Subset,
    *,
    debias: bool,
    device: torch.device,
    failed: Failed | None = None,
) -> Record:
    """What each explainer that is read says of its own maps: "ig.completeness_error"."""
    if not len(rows) or method.fuser.reads != "evidence":
        return {}
    batch, record = rows.batch(range(min(ROWS, len(rows))), device=device), Record()
    with isolated(teacher):
        prediction = predict(teacher, batch.image, method, debias=debias)
        for reference, explainer in method.explainers.items():
            with guard.spared(failed, reference, explainer, teacher):
                told = guard.diagnose(explainer, teacher, batch.image, prediction)
                record |= {f"{reference}.{name}": value for name, value in told.items()}
    return record


def calibrate(
    teacher: nn.Module,
    method: Method,
    rows: Subset,
    *,
    debias: bool,
    device: torch.device,
    failed: Failed | None = None,
) -> None:
    """Let the fuser learn from rows with their truth; the teacher never trained on them."""
    with isolated(teacher):
        guard.calibrate(method.fuser, _shown(teacher, method, rows, debias, device, failed))


def _shown(
    teacher: nn.Module,
    method: Method,
    rows: Subset,
    debias: bool,
    device: torch.device,
    failed: Failed | None,
) -> Iterator[tuple[Prediction, dict[str, Evidence], Batch]]:
    asked = method.explainers if method.fuser.reads == "evidence" else {}
    for batch in rows.batches(ROWS, device):
        prediction = predict(teacher, batch.image, method, debias=debias)
        evidence = explain(teacher, asked, batch.image, prediction, failed)
        yield prediction, evidence, batch


def labelled_share(rows: Subset) -> float | None:
    """The share of foreground in the masks of labelled rows; None where none has a mask."""
    total, count = 0.0, 0
    for batch in rows.batches(ROWS):
        total += float(batch.mask[batch.has_mask].mean(dim=(1, 2, 3)).sum())
        count += int(batch.has_mask.sum())
    return total / count if count else None
