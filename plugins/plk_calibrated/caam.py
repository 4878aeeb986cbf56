"""Class activation maps, class-agnostic ones, and the loss that draws them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.evidence import Target, minmax, target_class
from pseudolabel_kit.interfaces import (
    Batch,
    Explainer,
    Family,
    LossTerm,
    Model,
    Prediction,
    Ramp,
    Scale,
)
from pseudolabel_kit.plugin import Moment

Levels = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
Weights = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class Cam(Explainer):
    """CAM (eq. 2): the feature maps, weighted as the class head weighs them.

    Attributes:
        levels: which of the model's scales, 1 = the shallowest; their maps are averaged.
        target: the likeliest class that can hold lesions, or the predicted class.
    """

    family: ClassVar[Family] = "class-map"
    levels: Levels = (1,)
    target: Target = "lesion"

    def explain(self, model: Model, images: Tensor, prediction: Prediction) -> Tensor:
        """(B,1,H,W): the mean over levels of the min-max scaled maps, enlarged."""
        label = target_class(self.target, prediction.need_classes("cam"), self.task)
        scales = chosen(prediction, self.levels, "cam")
        return _evidence([cam(scale, label) for scale in scales], images)


@dataclass(frozen=True, kw_only=True)
class Caam(Explainer):
    """CAAM (eq. 3): the plain sum of the feature maps, and the CAM loss that refines it.

    Deep maps rank lesion pixels worse than the shallowest, the default. The CAM loss draws the
    two maps together: on breast ultrasound CAM ranked pixels better with it (AUROC 0.43 to 0.62),
    CAAM itself worse (0.71 to 0.62). With pseudo labels it gained a little Dice at 64 px (0.03,
    mean of nine runs), so that it is on, lightly; the paper's weight is 5.

    Attributes:
        levels: which of the model's scales, 1 = the shallowest; their maps are averaged.
        alpha: weight of the CAM loss (eq. 5), one for all levels or one for each; 0 = off.
        start: when the CAM loss joins; CAM must have learnt its class by then.
        detach: the CAM loss does not train the class head's weights.
    """

    family: ClassVar[Family] = "class-map"
    levels: Levels = (1,)
    alpha: Weights = (1.0,)
    start: Moment = "10%"
    detach: bool = True

    def __post_init__(self) -> None:
        if len(self.alpha) not in (1, len(self.levels)):
            raise ValueError(
                f"alpha has {len(self.alpha)} weights for {len(self.levels)} levels: "
                "expected one, or one for each level"
            )

    def explain(self, model: Model, images: Tensor, prediction: Prediction) -> Tensor:
        """(B,1,H,W): the mean over levels of the min-max scaled maps, enlarged."""
        return _evidence([caam(s) for s in chosen(prediction, self.levels, "caam")], images)

    def loss(self, prediction: Prediction, batch: Batch) -> LossTerm | None:
        """Sum over levels of alpha times the CAM loss (eq. 4, 5), over rows with a label."""
        if not any(self.alpha):
            return None
        label = batch.label.where(batch.has_label, 0)
        scales = chosen(prediction, self.levels, "caam")
        alphas = self.alpha * len(scales) if len(self.alpha) == 1 else self.alpha
        levels = zip(alphas, scales, strict=True)
        total = torch.stack([alpha * self._distance(scale, label) for alpha, scale in levels])
        count = batch.has_label.to(total.dtype)
        return LossTerm(total=total.sum(dim=0) * count, count=count)

    def loss_ramp(self) -> Ramp:
        """At once, from `start` on, where alpha, the weight, is not 0."""
        return Ramp(weight=float(any(self.alpha)), start=self.start)

    def _distance(self, scale: Scale, label: Tensor) -> Tensor:
        """(B,): mean |CAAM' - CAM'| over pixels (eq. 4). A sum would drown every other loss."""
        weight = scale.weight.detach() if self.detach else scale.weight
        target = cam(Scale(features=scale.features, weight=weight), label)
        return (minmax(caam(scale)) - minmax(target)).abs().mean(dim=(1, 2, 3))


def cam(scale: Scale, label: Tensor) -> Tensor:
    """CAM of one class a row, label (B,) int64: (B,1,h,w), without the head's bias (eq. 2)."""
    weight = scale.weight[label].to(scale.features.dtype)
    return torch.einsum("bd,bdhw->bhw", weight, scale.features)[:, None].float()


def caam(scale: Scale) -> Tensor:
    """CAAM (B,1,h,w): the sum of the feature maps (eq. 3)."""
    return scale.features.float().sum(dim=1, keepdim=True)


def _evidence(maps: Sequence[Tensor], images: Tensor) -> Tensor:
    size = images.shape[-2:]
    enlarged = [F.interpolate(minmax(m.detach()), size, mode="bilinear") for m in maps]
    return torch.stack(enlarged).mean(dim=0).clamp(0, 1)


def chosen(prediction: Prediction, levels: Sequence[int], name: str) -> list[Scale]:
    """The model's scales at `levels`, counted from 1.

    Raises:
        PluginError: the model has none, or not so many; it names the part.
    """
    available = len(prediction.scales)
    if not available:
        raise PluginError(
            f"{name}: the model's classifier has no linear head to map: "
            "expected a backbone with scales, such as vgg-multiscale"
        )
    if max(levels) > available:
        raise PluginError(
            f"{name}: levels={'/'.join(map(str, levels))}: "
            f"the model has {available} scale{'s' * (available > 1)}, counted from 1"
        )
    return [prediction.scales[level - 1] for level in levels]
