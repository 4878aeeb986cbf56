"""What attributions of the class score to pixels have in common, for authors of one more."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pseudolabel_kit.evidence import Target, target_class, to_evidence
from pseudolabel_kit.interfaces import Explainer, Model, Prediction

Baseline: TypeAlias = Literal["blur", "mean", "zero"]

_BLUR_CELLS = 8  # a blurred image is what a mosaic of 8x8 means still shows of it


class ClassScores(nn.Module):
    """The class scores (B,N) of a model as a module, for methods that look inside it.

    Attributes:
        model: the lent model; its modules are this one's, under "model.".
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Class logits (B,N) of images (B,C,H,W)."""
        return self.model.classify(images)


@dataclass(frozen=True, kw_only=True)
class ClassEvidence(Explainer):
    """Credits pixels for the score of one class.

    Attributes:
        target: the likeliest class that can hold lesions, or the predicted class.
    """

    target: Target = "lesion"

    @abstractmethod
    def credit(self, scores: ClassScores, images: Tensor, label: Tensor) -> Tensor:
        """Signed credit (B,C,H,W) or (B,1,H,W) for class `label` (B,) of each row.

        Args:
            scores: the lent model, as a module whose output is the class logits.
            images: (B,C,H,W) in [0, 1], detached.
            label: (B,) int64.
        """

    def explain(self, model: Model, images: Tensor, prediction: Prediction) -> Tensor:
        """(B,1,H,W): the credit's size, smoothed, clipped at its 99th percentile.

        Raises:
            PluginError: the model does not classify.
        """
        label = self.label(prediction)
        return to_evidence(self.credit(ClassScores(model), images.detach(), label).detach())

    def label(self, prediction: Prediction) -> Tensor:
        """(B,) int64: the class that each row is explained for."""
        scores = prediction.need_classes(type(self).__name__)
        return target_class(self.target, scores, self.task)


@dataclass(frozen=True, kw_only=True)
class Attribution(ClassEvidence):
    """Credits the score of one class to the pixels that moved it from a baseline's score.

    From black, black pixels get no credit. The blurred image ranked lesion pixels best on
    breast ultrasound (AUROC 0.76; from the mean 0.68, from black 0.59). On chest CT no
    attribution beat chance (0.45, 0.24, 0.45): look at the audit before trusting one.

    Attributes:
        baseline: the image blurred, its mean in each channel, or black.
    """

    baseline: Baseline = "blur"

    @abstractmethod
    def attribute(self, scores: ClassScores, images: Tensor, base: Tensor, label: Tensor) -> Tensor:
        """Signed attributions (B,C,H,W) of class `label` (B,), from `base` to `images`."""

    def credit(self, scores: ClassScores, images: Tensor, label: Tensor) -> Tensor:
        """Signed attributions (B,C,H,W), from the chosen baseline."""
        return self.attribute(scores, images, baseline_of(images, self.baseline), label)

    def diagnose(self, model: Model, images: Tensor, prediction: Prediction) -> Mapping[str, float]:
        """Completeness: attributions should sum to F(image) - F(baseline).

        `completeness_error` is the mean absolute miss in units of the class score;
        `completeness_share` is that miss over the mean absolute difference of scores.
        """
        scores, images, label = ClassScores(model), images.detach(), self.label(prediction)
        credit = self.credit(scores, images, label).detach()
        with torch.no_grad():
            gain = scores(images) - scores(baseline_of(images, self.baseline))
        gain = gain.gather(1, label[:, None])[:, 0].to(credit.dtype)
        miss = (credit.sum(dim=(1, 2, 3)) - gain).abs().mean()
        share = miss / gain.abs().mean().clamp_min(torch.finfo(miss.dtype).eps)
        return {"completeness_error": miss.item(), "completeness_share": share.item()}


def baseline_of(images: Tensor, kind: Baseline) -> Tensor:
    """Where attributions of images (B,C,H,W) start; each depends on its own image alone."""
    if kind == "zero":
        return torch.zeros_like(images)
    cells = 1 if kind == "mean" else _BLUR_CELLS
    means = F.adaptive_avg_pool2d(images, cells)
    return F.interpolate(means, size=images.shape[-2:], mode="bilinear")
