"""From images to pseudo labels: the upper line of the drawing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import Evidence, Explainer, Prediction, PseudoLabels, Task
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
    teacher: nn.Module, method: Method, images: Tensor, *, debias: bool, explained: bool = False
) -> Labelled:
    """Predict, explain and fuse images (B,C,H,W), leaving the teacher as it was.

    `explained` asks for the evidence even where the fuser does not read it.
    """
    with isolated(teacher):
        prediction = predict(teacher, images, method, debias=debias)
        wanted = explained or method.fuser.reads == "evidence"
        explainers = method.explainers if wanted else {}
        evidence = explain(teacher, explainers, images, prediction)
        with torch.no_grad():
            pseudo = method.fuser.fuse(prediction, evidence)
    pseudo = _checked(pseudo, images, method.backbone.task)
    return Labelled(prediction=prediction, evidence=evidence, pseudo=pseudo)


def predict(model: nn.Module, images: Tensor, method: Method, *, debias: bool) -> Prediction:
    """The model's answer without gradients, its mask logits corrected for w where `debias`."""
    with torch.no_grad():
        prediction: Prediction = model(images)
    if not debias or prediction.mask_logits is None:
        return prediction
    weight = method.backbone.task.background_weight
    return replace(prediction, mask_logits=unbiased(prediction.mask_logits, weight))


def explain(
    model: nn.Module, explainers: Mapping[str, Explainer], images: Tensor, prediction: Prediction
) -> dict[str, Evidence]:
    """Every explainer's evidence on an isolated model.

    Raises:
        PluginError: a map does not have the shape (B,1,H,W) or (B,K,H,W).
    """
    evidence = {}
    for reference, explainer in explainers.items():
        found = explainer.explain(model, images, prediction)  # type: ignore[arg-type]
        batch, _, *size = images.shape
        expected = {(batch, 1, *size)}
        if prediction.mask_logits is not None:
            expected.add((batch, prediction.mask_logits.shape[1], *size))
        if tuple(found.shape) not in expected:
            raise PluginError(
                f"explainer {reference}: evidence has shape {tuple(found.shape)}, "
                f"expected {' or '.join(map(str, sorted(expected)))}"
            )
        evidence[reference] = Evidence(map=found.detach(), family=explainer.family)
    return evidence


def _checked(pseudo: PseudoLabels, images: Tensor, task: Task) -> PseudoLabels:
    """Refuse labels that do not have the shapes that the task asks for."""
    batch, _, *size = images.shape
    expected = {
        "mask": (batch, task.mask_channels, *size),
        "mask_weight": (batch, 1, *size),
        "label": (batch, len(task.classes)),
        "label_weight": (batch,),
    }
    for name, shape in expected.items():
        found = getattr(pseudo, name)
        if found is not None and tuple(found.shape) != shape:
            raise PluginError(
                f"fuser: {name} has shape {tuple(found.shape)}, expected {tuple(shape)}"
            )
    return pseudo
