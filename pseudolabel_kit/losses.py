"""The losses, each as two sums over rows (`LossTerm`) so that they are exact in parallel."""

from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

from pseudolabel_kit.interfaces import Batch, LossTerm, Prediction, PseudoLabels, Task


def weighted_bce(logits: Tensor, target: Tensor, background_weight: float) -> Tensor:
    """Weighted binary cross-entropy per element: -y log q - w (1-y) log(1-q), q = sigmoid(logit).

    Eq. 11 and 12. `background_weight` is w, in (0, 1]. Any shape; soft targets in [0, 1].

    >>> weighted_bce(torch.zeros(2), torch.tensor([1.0, 0.0]), 0.5)
    tensor([0.6931, 0.3466])
    """
    return -target * F.logsigmoid(logits) - background_weight * (1 - target) * F.logsigmoid(-logits)


def unbiased(mask_logits: Tensor, background_weight: float) -> Tensor:
    """Logits whose sigmoid estimates the lesion's probability t, whatever w the decoder saw.

    Under eq. 11 the best answer to a pixel that is lesion with probability t is
    t / (t + w (1-t)), which is logit(t) - log w: adding log w undoes it. Without this a
    decoder that is trained on its own labels drifts until everything is lesion.

    >>> torch.sigmoid(unbiased(torch.logit(torch.tensor([0.2 / (0.2 + 0.5 * 0.8)])), 0.5))
    tensor([0.2000])
    """
    return mask_logits + log(background_weight)


def comparable(mask_logits: Tensor, task: Task) -> Tensor:
    """A student's mask logits as the engine hands over a teacher's: w undone, or not, in both."""
    return unbiased(mask_logits, task.background_weight) if task.debias else mask_logits


def classification(class_logits: Tensor, label: Tensor, has_label: Tensor) -> LossTerm:
    """Cross-entropy (eq. 1) on class_logits (B,N), over the rows that have a label."""
    entropy = F.cross_entropy(class_logits, label.where(has_label, 0), reduction="none")
    return LossTerm(total=entropy * has_label, count=has_label.to(entropy.dtype))


def segmentation(
    mask_logits: Tensor, mask: Tensor, has_mask: Tensor, background_weight: float
) -> LossTerm:
    """Weighted BCE (eq. 11) on mask_logits (B,K,H,W): each row's pixel mean, rows with a mask."""
    pixels = weighted_bce(mask_logits, mask, background_weight)
    return LossTerm(total=pixels.mean(dim=(1, 2, 3)) * has_mask, count=has_mask.to(pixels.dtype))


def dice(mask_logits: Tensor, mask: Tensor, has_mask: Tensor) -> LossTerm:
    """Soft Dice loss, 1 - 2 sum(pq) / (sum(p) + sum(q)), over rows with a mask (Milletari, 2016).

    Each row and channel by itself, then the mean over channels; one pixel is added above and
    below, so that an empty answer to an empty mask costs nothing.
    """
    p = mask_logits.sigmoid()
    overlap, size = (p * mask).sum(dim=(2, 3)), p.sum(dim=(2, 3)) + mask.sum(dim=(2, 3))
    loss = 1 - (2 * overlap + 1) / (size + 1)
    return LossTerm(total=loss.mean(dim=1) * has_mask, count=has_mask.to(loss.dtype))


def supervised(
    prediction: Prediction, batch: Batch, *, background_weight: float
) -> dict[str, LossTerm]:
    """Eq. 1 on rows with a label and eq. 11 on rows with a mask, for the heads that there are."""
    terms = {}
    if prediction.class_logits is not None:
        terms["classification"] = classification(
            prediction.class_logits, batch.label, batch.has_label
        )
    if prediction.mask_logits is not None:
        terms["segmentation"] = segmentation(
            prediction.mask_logits, batch.mask, batch.has_mask, background_weight
        )
    return terms


def consistency(
    student: Prediction, pseudo: PseudoLabels, *, background_weight: float
) -> dict[str, LossTerm]:
    """L_u (eq. 12): weighted BCE on masks, cross-entropy on labels, over ALL pixels and rows.

    Ignored pixels and rows count in the denominator, as in FixMatch, so that few confident
    ones do not pull as hard as many.
    """
    terms = {}
    if pseudo.mask is not None and pseudo.mask_weight is not None:
        logits = student.need_masks("L_u")
        pixels = weighted_bce(logits, pseudo.mask, background_weight) * pseudo.mask_weight
        terms["mask"] = mean_over_pixels(pixels)
    if pseudo.label is not None and pseudo.label_weight is not None:
        entropy = F.cross_entropy(student.need_classes("L_u"), pseudo.label, reduction="none")
        weighed = entropy * pseudo.label_weight
        terms["label"] = LossTerm(total=weighed, count=torch.ones_like(weighed))
    return terms


def mean_over_pixels(pixels: Tensor) -> LossTerm:
    """The mean of a loss (B,K,H,W) over all pixels of all rows, each row counting once."""
    rows = pixels.mean(dim=(1, 2, 3))
    return LossTerm(total=rows, count=torch.ones_like(rows))
