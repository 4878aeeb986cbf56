"""Predictions of known probabilities, and what a fuser makes of them."""

from __future__ import annotations

import torch
from torch import Tensor

from plk_thresholds.adaptive import Adaptive
from pseudolabel_kit.interfaces import Prediction


def classes(*rows: list[float]) -> Prediction:
    """Rows with these class probabilities."""
    return Prediction(class_logits=torch.tensor(rows).log())


def lesion(*pixels: float) -> Prediction:
    """One row whose pixels are lesion with these probabilities."""
    return Prediction(mask_logits=torch.tensor(pixels).logit().reshape(1, 1, 1, -1))


def weights(part: Adaptive, prediction: Prediction) -> list[float]:
    pseudo = part.fuse(prediction, {})
    found = pseudo.mask_weight if pseudo.label_weight is None else pseudo.label_weight
    assert found is not None
    return [round(w, 6) for w in found.flatten().tolist()]


def remembered(part: Adaptive, name: str) -> Tensor:
    """What the part remembers of its only target, without the axis of problems."""
    return part.memory("class" if part.targets == "class" else "mask")[name][0]


def close(found: Tensor, *expected: float) -> None:
    torch.testing.assert_close(found, found.new_tensor(expected).reshape(found.shape))
