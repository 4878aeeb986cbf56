"""A learner of real parts, and a step on rows that are always the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from plk_support import make_batch, make_net, make_task
from torch import Tensor

from plk_calibrated.vgg import VggMultiscale
from plk_thresholds.fixmatch import FixMatch
from pseudolabel_kit.config import AugmentConfig
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.engine.step import CONSISTENCY, Learner, Step
from pseudolabel_kit.interfaces import (
    Batch,
    Explainer,
    Fuser,
    Perturbation,
)

STILL = AugmentConfig(flip=0, shift=0, scale=0)
W = make_task().background_weight


def make_learner(
    *,
    explainers: Mapping[str, Explainer] | None = None,
    fuser: Fuser | None = None,
    perturbations: tuple[Perturbation, ...] = (),
    augment: AugmentConfig = STILL,
    debias: bool = True,
) -> Learner:
    method = Method(
        backbone=VggMultiscale(width=0.1),
        explainers=explainers or {},
        fuser=fuser or FixMatch(threshold=0.5),
        perturbations=perturbations,
    )
    states = method.begin(make_task())
    return Learner(
        make_net(),
        method,
        states,
        augment=augment,
        debias=debias,
        mean_over_processes=lambda counts: counts,
    )


def weights(**others: float) -> dict[str, float]:
    return {"classification": 1.0, "segmentation": 5.0, CONSISTENCY: 2.0, **others}


def taken(learner: Learner, **others: float) -> tuple[Step, Tensor]:
    """A step on the same rows every time, and its loss."""
    step = Step(make_batch(4, seed=1), without_truth(make_batch(3, seed=2)), weights(**others))
    loss: Tensor = learner(step)
    return step, loss


def without_truth(batch: Batch) -> Batch:
    nothing = torch.zeros(len(batch.image), dtype=torch.bool)
    return replace(batch, has_label=nothing, has_mask=nothing)


def mean(total: Tensor, count: Tensor) -> Tensor:
    return total.sum() / count.sum()
