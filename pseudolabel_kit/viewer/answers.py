"""What a frozen run answers to some slices, and the evidence for it, plane by plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pseudolabel_kit.engine import guard
from pseudolabel_kit.engine.label import explain, predict
from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.engine.readout import (
    as_numpy,
    class_probabilities,
    lesion_probability,
    marked_from,
)
from pseudolabel_kit.interfaces import Explainer, Prediction
from pseudolabel_kit.isolate import isolated

Planes = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Of B slices, on the run's own grid (H,W).

    Attributes:
        probabilities: (B,N) of the classes, or None where the model does not classify.
        evidence: (B,H,W) in [0, 1], by the explainer's reference.
        decoder: (B,H,W) the probability of a lesion, or None where the model does not segment.
        marked: (B,H,W) what counts as lesion, likewise.
        label: (B,H,W) the pseudo label, 0 where nothing would be taught; None without masks.
        taught: (B,) the share of pixels that it would teach, likewise.
    """

    probabilities: NDArray[np.float32] | None
    evidence: Mapping[str, Planes]
    decoder: Planes | None
    marked: NDArray[np.bool_] | None
    label: Planes | None
    taught: NDArray[np.float32] | None


def answer(predictor: Predictor, explainers: Mapping[str, Explainer], images: Tensor) -> Answers:
    """Ask the model, the explainers, and the run's fuser with the run's own explainers.

    Args:
        images: (B,C,H,W) in [0, 1], as the run's task has them.

    Raises:
        PluginError: a part fails; it is named.
    """
    model, method = predictor.model, predictor.method
    own = method.explainers if method.fuser.reads == "evidence" else {}
    images = images.to(predictor.fabric.device)
    with predictor.fabric.autocast(), isolated(model):
        prediction = predict(model, images, method, debias=predictor.config.loss.debias)
        found = explain(model, {**own, **explainers}, images, prediction)
    label, taught = None, None
    if method.fuser.reads != "nothing":
        mine = {reference: found[reference] for reference in own}
        pseudo = guard.fuse(method.fuser, prediction, mine, images)
        if pseudo.mask is not None and pseudo.mask_weight is not None:
            teaches = pseudo.mask_weight > 0
            label = _planes(pseudo.mask * teaches)
            taught = as_numpy(teaches.float().mean(dim=(1, 2, 3)))
    decoder = _decoder(predictor, prediction)
    return Answers(
        probabilities=class_probabilities(prediction),
        evidence={reference: _planes(found[reference].map) for reference in explainers},
        decoder=decoder,
        marked=None if decoder is None else decoder >= marked_from(predictor.task),
        label=label,
        taught=taught,
    )


def _decoder(predictor: Predictor, prediction: Prediction) -> Planes | None:
    """The probability of a lesion; the parts may have been shown logits that are unbiased."""
    task = predictor.task
    if predictor.config.loss.debias:
        task = replace(task, background_weight=1.0)
    found = lesion_probability(prediction, task)
    return None if found is None else found.max(axis=1)


def _planes(maps: Tensor) -> Planes:
    """(B,H,W); of several mask channels the one that says most at each place."""
    return as_numpy(maps.amax(dim=1))
