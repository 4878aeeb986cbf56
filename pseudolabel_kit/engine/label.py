"""From images to pseudo labels: the upper line of the drawing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pseudolabel_kit.engine import guard
from pseudolabel_kit.engine.guard import Failed
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.interfaces import Evidence, Explainer, Prediction, PseudoLabels
from pseudolabel_kit.isolate import isolated
from pseudolabel_kit.losses import unbiased


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """What a teacher says of images: its answer, the evidence for it, and the label made of both.

    Attributes:
        prediction: corrected for the background weight, where that is asked for.
        evidence: by the explainer's reference; empty where the fuser reads none.
    """

    prediction: Prediction
    evidence: Mapping[str, Evidence]
    pseudo: PseudoLabels


def pseudo_label(
    teacher: nn.Module,
    method: Method,
    images: Tensor,
    *,
    debias: bool,
    explained: bool = False,
    failed: Failed | None = None,
) -> Labelled:
    """Predict, explain and fuse images (B,C,H,W), leaving the teacher as it was.

    Args:
        explained: ask for the evidence even where the fuser does not read it.
        failed: see `explain`.

    Raises:
        PluginError: a part fails; it is named.
    """
    with isolated(teacher):
        prediction = predict(teacher, images, method, debias=debias)
        wanted = explained or method.fuser.reads == "evidence"
        explainers = method.explainers if wanted else {}
        evidence = explain(teacher, explainers, images, prediction, failed)
        pseudo = guard.fuse(method.fuser, prediction, evidence, images)
    return Labelled(prediction=prediction, evidence=evidence, pseudo=pseudo)


def predict(model: nn.Module, images: Tensor, method: Method, *, debias: bool) -> Prediction:
    """The model's answer without gradients, its mask logits corrected for w where `debias`."""
    with torch.no_grad():
        prediction = guard.forward(method.backbone, model, images)
    if not debias or prediction.mask_logits is None:
        return prediction
    weight = method.backbone.task.background_weight
    return replace(prediction, mask_logits=unbiased(prediction.mask_logits, weight))


def explain(
    model: nn.Module,
    explainers: Mapping[str, Explainer],
    images: Tensor,
    prediction: Prediction,
    failed: Failed | None = None,
) -> dict[str, Evidence]:
    """Every explainer's evidence on an isolated model.

    Args:
        failed: where given, explainers that fail are left out and noted here.

    Raises:
        PluginError: an explainer fails; it is named.
    """
    evidence = {}
    for reference, explainer in explainers.items():
        with guard.spared(failed, reference, explainer, model):
            evidence[reference] = guard.explain(explainer, model, images, prediction)
    return evidence
