"""Numbers out of a prediction: probabilities of classes, and of a lesion at each pixel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pseudolabel_kit.interfaces import Prediction, Task
from pseudolabel_kit.losses import unbiased

Floats = NDArray[np.float32]


def class_probabilities(prediction: Prediction) -> Floats | None:
    """Of each image (B,N); None where the model does not classify."""
    if prediction.class_logits is None:
        return None
    return as_numpy(prediction.class_logits.float().softmax(dim=1))


def likeliest(probabilities: Mapping[str, float]) -> str:
    """The name of the likeliest class, or nothing where there is none."""
    return max(probabilities, key=probabilities.__getitem__, default="")


def lesion_probability(prediction: Prediction, task: Task) -> Floats | None:
    """The decoder's (B,K,H,W), its background weight undone; None where it does not segment."""
    if prediction.mask_logits is None:
        return None
    return as_numpy(unbiased(prediction.mask_logits.float(), task.background_weight).sigmoid())


def marked_from(task: Task) -> float:
    """The least lesion probability that a mask marks.

    The decoder, trained with background weight w, says one half there.
    """
    return task.background_weight / (1 + task.background_weight)


def as_numpy(tensor: Tensor) -> Floats:
    """A tensor's values as floats, wherever it lies."""
    values: Floats = tensor.detach().float().cpu().numpy()
    return values
