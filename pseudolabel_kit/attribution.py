"""What attributions of the class score to pixels have in common, for authors of one more."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from pseudolabel_kit.evidence import Target, target_class, to_evidence
from pseudolabel_kit.interfaces import Explainer, Model, Prediction

Baseline: TypeAlias = Literal["blur", "mean", "zero"]
Classify: TypeAlias = Callable[[Tensor], Tensor]

BLUR_CELLS = 8  # a blurred image is what a mosaic of 8x8 means still shows of it


@dataclass(frozen=True, kw_only=True)
class Attribution(Explainer):
    """Credits the score of one class to the pixels that moved it from a baseline's score.

    From black, black pixels get no credit. The blurred image ranked lesion pixels best on
    breast ultrasound (AUROC 0.76; from the mean 0.68, from black 0.59). On chest CT no
    attribution beat chance (0.45, 0.24, 0.45): look at the audit before trusting one.

    Attributes:
        baseline: the image blurred, its mean in each channel, or black.
        target: the likeliest class that can hold lesions, or the predicted class.
    """

    baseline: Baseline = "blur"
    target: Target = "lesion"

    @abstractmethod
    def attribute(self, classify: Classify, images: Tensor, base: Tensor, label: Tensor) -> Tensor:
        """Signed attributions (B,C,H,W) of class `label` (B,), from `base` to `images`."""

    def explain(self, model: Model, images: Tensor, prediction: Prediction) -> Tensor:
        """(B,1,H,W): the attribution's size, smoothed, clipped at its 99th percentile."""
        return to_evidence(self._attribute(model, images, prediction)[0])

    def diagnose(self, model: Model, images: Tensor, prediction: Prediction) -> Mapping[str, float]:
        """Completeness: attributions should sum to F(image) - F(baseline).

        `completeness_error` is the mean absolute miss in units of the class score;
        `completeness_share` is that miss over the mean absolute difference of scores.
        """
        attribution, base, label = self._attribute(model, images, prediction)
        with torch.no_grad():
            gain = (model.classify(images) - model.classify(base)).gather(1, label[:, None])[:, 0]
        gain = gain.to(attribution.dtype)
        miss = (attribution.sum(dim=(1, 2, 3)) - gain).abs().mean()
        share = miss / gain.abs().mean().clamp_min(torch.finfo(miss.dtype).eps)
        return {"completeness_error": miss.item(), "completeness_share": share.item()}

    def _attribute(
        self, model: Model, images: Tensor, prediction: Prediction
    ) -> tuple[Tensor, Tensor, Tensor]:
        images = images.detach()
        base = baseline_of(images, self.baseline)
        scores = prediction.need_classes(type(self).__name__)
        label = target_class(self.target, scores, self.task)
        return self.attribute(model.classify, images, base, label).detach(), base, label


def baseline_of(images: Tensor, kind: Baseline) -> Tensor:
    """Where attributions of images (B,C,H,W) start; each depends on its own image alone."""
    if kind == "zero":
        return torch.zeros_like(images)
    cells = 1 if kind == "mean" else BLUR_CELLS
    means = F.adaptive_avg_pool2d(images, cells)
    return F.interpolate(means, size=images.shape[-2:], mode="bilinear")
