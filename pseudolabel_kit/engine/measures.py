"""What a model is worth on rows whose truth is known.

Classes   accuracy; sensitivity and specificity, one class against the rest, averaged over
          the classes that occur; auc, likewise, from the softmax of the class scores.
Masks     sigmoid(mask_logits) >= 0.5 is lesion. dice = 2tp / (2tp + fp + fn); miou is the
          mean of the foreground's and the background's IoU. Each of them three ways:
          `dice` over all pixels of all rows together, `dice_image` the mean over images,
          `dice_patient` the mean over patients with each patient's pixels together.
Lesion-free images have no Dice of their own: they would score 1 or 0 by a single pixel, so
          the means over images and patients leave them out, and `false_positive_share`
          says how much of them was marked. They do count in the pooled `dice` and `miou`.
Several mask channels are measured one by one and averaged over those that hold a lesion.
A measure that the rows do not define, or that needs a head the model lacks, is None.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import multilabel_stat_scores

from pseudolabel_kit.engine.scores import Columns, scores
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.interfaces import Batch, Prediction

MeasureTable: TypeAlias = dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that the measures need to know of one row.

    Attributes:
        name: unique within the dataset.
        patient: whom bootstrap resamples keep together, or None.
        label: the true class, or None.
        probabilities: N of them, or None where the model does not classify.
        counts: (tp, fp, fn, tn) pixels of each mask channel; None where there is no mask, or
            the model does not segment.
        digest: of its name, label and mask, whatever the model; 0 where it was not taken.
    """

    name: str
    patient: str | None
    label: int | None
    probabilities: tuple[float, ...] | None
    counts: tuple[tuple[int, int, int, int], ...] | None
    digest: int = 0


class Measures:
    """Gathers outcomes batch by batch, and over processes by `merge`."""

    def __init__(self, classes: Sequence[str], mask_channels: int = 1) -> None:
        self.classes = tuple(classes)
        self.mask_channels = mask_channels
        self._outcomes: dict[str, Outcome] = {}

    @property
    def rows(self) -> list[Outcome]:
        """The outcomes by name: the same list however they were batched or spread."""
        return [self._outcomes[name] for name in sorted(self._outcomes)]

    def update(
        self,
        prediction: Prediction,
        batch: Batch,
        names: Sequence[str],
        patients: Sequence[str | None],
    ) -> None:
        """Add a batch; rows without a label or a mask count only for the other task.

        Raises:
            RunError: a score is not finite.
        """
        _require_finite(prediction, names)
        has_label, has_mask = batch.has_label.tolist(), batch.has_mask.tolist()
        known = zip(batch.label.tolist(), has_label, strict=True)
        labels = [label if told else None for label, told in known]
        probabilities = _probabilities(prediction.class_logits)
        counts = _pixel_counts(prediction.mask_logits, batch.mask)
        masks = batch.mask.cpu()
        self.merge(
            Outcome(
                name=name,
                patient=patients[i],
                label=labels[i],
                probabilities=probabilities[i] if probabilities else None,
                counts=counts[i] if counts and has_mask[i] else None,
                digest=_digest(name, labels[i], masks[i] if has_mask[i] else None),
            )
            for i, name in enumerate(names)
        )

    def merge(self, rows: Iterable[Outcome]) -> None:
        """Add outcomes of another process; a name that is known already counts once."""
        for row in rows:
            self._outcomes.setdefault(row.name, row)

    def compute(self) -> MeasureTable:
        """Every measure by name, None where it is undefined."""
        if not self._outcomes:
            raise RunError("nothing to measure: the split holds no rows")
        table = columns(self.rows)
        everyone = np.ones((1, len(table.is_patient)))
        return {name: optional(value[0]) for name, value in scores(table, everyone).items()}


def columns(rows: Sequence[Outcome]) -> Columns:
    """The outcomes as arrays; rows of one patient form a group, others each their own."""
    keys = [("patient", r.patient) if r.patient is not None else ("image", r.name) for r in rows]
    groups = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    channels = max((len(r.counts) for r in rows if r.counts), default=1)
    unknown = ((0, 0, 0, 0),) * channels
    classes = max((len(r.probabilities) for r in rows if r.probabilities), default=1)
    told = [r.label if r.probabilities else None for r in rows]
    return Columns(
        label=np.array([-1 if label is None else label for label in told], dtype=np.int64),
        probabilities=np.array([r.probabilities or (0.0,) * classes for r in rows]),
        counts=np.array([r.counts or unknown for r in rows], dtype=np.float64),
        group=np.array([groups[key] for key in keys], dtype=np.int64),
        is_patient=np.array([kind == "patient" for kind, _ in groups], dtype=np.bool_),
        row=np.array([r.digest for r in rows], dtype=np.uint64),
    )


def optional(value: float) -> float | None:
    """A plain float, or None for NaN."""
    return float(value) if np.isfinite(value) else None


def _probabilities(logits: Tensor | None) -> list[tuple[float, ...]] | None:
    if logits is None:
        return None
    return [tuple(row) for row in logits.detach().cpu().double().softmax(dim=1).tolist()]


def _pixel_counts(
    logits: Tensor | None, mask: Tensor
) -> list[tuple[tuple[int, int, int, int], ...]] | None:
    """(tp, fp, fn, tn) of each channel of each row."""
    if logits is None:
        return None
    rows, channels = logits.shape[:2]
    stats = multilabel_stat_scores(
        (logits.detach() >= 0).long(),
        (mask > 0.5).long(),
        num_labels=channels,
        average=None,
        multidim_average="samplewise",
        validate_args=False,
    )
    by_row = stats.reshape(rows, channels, 5).tolist()  # torchmetrics drops axes of length 1
    return [tuple((tp, fp, fn, tn) for tp, fp, tn, fn, _ in row) for row in by_row]


def _digest(name: str, label: int | None, mask: Tensor | None) -> int:
    """A number of 64 bits that another name, label or mask (K,H,W) would change."""
    lesion = None if mask is None else np.packbits(mask.numpy() > 0.5).tobytes()
    told = repr((name, label, lesion)).encode()
    return int.from_bytes(hashlib.blake2b(told, digest_size=8).digest())


def _require_finite(prediction: Prediction, names: Sequence[str]) -> None:
    for logits in (prediction.class_logits, prediction.mask_logits):
        if logits is None:
            continue
        finite = torch.isfinite(logits.detach()).flatten(1).all(dim=1)
        if not finite.all():
            name = names[int((~finite).nonzero()[0])]
            raise RunError(
                f"{name}: the model's scores are not finite, the training has diverged; "
                "lower optimiser.lr"
            )
