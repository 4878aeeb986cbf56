"""What attributions of the class score to pixels have in common, for authors of one more."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pseudolabel_kit.evidence import Target, lesion_margin, target_class, to_evidence
from pseudolabel_kit.interfaces import Explainer, Model, Prediction, Task

Question: TypeAlias = Target | Literal["margin", "mask"]
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


class LesionMargin(ClassScores):
    """The margin (B,1) of the classes that can hold lesions over the others, in log-odds."""

    def __init__(self, model: Model, task: Task) -> None:
        super().__init__(model)
        self.task = task

    def forward(self, images: Tensor) -> Tensor:
        """One score (B,1) for images (B,C,H,W)."""
        return lesion_margin(super().forward(images), self.task)[:, None]


class LesionArea(ClassScores):
    """The share (B,1) of the image that the decoder takes for lesion."""

    def forward(self, images: Tensor) -> Tensor:
        """One score (B,1) for images (B,C,H,W)."""
        masks = self.model(images).need_masks("target=mask")
        return masks.float().sigmoid().mean(dim=(1, 2, 3))[:, None]


@dataclass(frozen=True, kw_only=True)
class ClassEvidence(Explainer):
    """Credits pixels for one score of the model.

    Attributes:
        target: whose score: that of the likeliest class that can hold lesions, of the
            predicted class, the margin of all classes that can hold lesions over the others,
            or the area of the decoder's mask.
    """

    target: Question = "lesion"

    @abstractmethod
    def credit(self, scores: ClassScores, images: Tensor, label: Tensor) -> Tensor:
        """Signed credit (B,C,H,W) or (B,1,H,W) for score `label` (B,) of each row.

        Args:
            scores: the lent model, as a module whose output (B,N) is the class logits, or (B,1)
                where `target` is one score.
            images: (B,C,H,W) in [0, 1], detached.
            label: (B,) int64, which of the scores.
        """

    def explain(self, model: Model, images: Tensor, prediction: Prediction) -> Tensor:
        """(B,1,H,W): the credit's size, smoothed, clipped at its 99th percentile.

        Raises:
            PluginError: the model does not classify.
        """
        label = self.label(prediction, images)
        return to_evidence(self.credit(self.scores(model), images.detach(), label).detach())

    def scores(self, model: Model) -> ClassScores:
        """The lent model as a module that answers with the scores to choose from."""
        if self.target == "margin":
            return LesionMargin(model, self.task)
        return LesionArea(model) if self.target == "mask" else ClassScores(model)

    def label(self, prediction: Prediction, images: Tensor) -> Tensor:
        """(B,) int64: which score each row is explained for."""
        if self.target == "margin" or self.target == "mask":
            return torch.zeros(len(images), dtype=torch.int64, device=images.device)
        scores = prediction.need_classes(type(self).__name__)
        return target_class(self.target, scores, self.task)


@dataclass(frozen=True, kw_only=True)
class Attribution(ClassEvidence):
    """Credits the score of one class to the pixels that moved it from a baseline's score.

    From black, black pixels get no credit: the blurred image ranked lesion pixels better where
    lesions are dark (breast ultrasound), black where they are bright (chest CT). How well any
    attribution ranks them changes with how the network was taught, from one seed to the next
    even: look at the audit before trusting one.

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

        `completeness_error` is the mean absolute miss, `completeness_gain` the mean absolute
        difference that they should sum to, both in units of the score.
        """
        scores, label = self.scores(model), self.label(prediction, images)
        images = images.detach()
        credit = self.credit(scores, images, label).detach()
        with torch.no_grad():
            gain = scores(images) - scores(baseline_of(images, self.baseline))
        gain = gain.gather(1, label[:, None])[:, 0].to(credit.dtype)
        miss = credit.sum(dim=(1, 2, 3)) - gain
        return {
            "completeness_error": miss.abs().mean().item(),
            "completeness_gain": gain.abs().mean().item(),
        }


def baseline_of(images: Tensor, kind: Baseline) -> Tensor:
    """Where attributions of images (B,C,H,W) start; each depends on its own image alone."""
    if kind == "zero":
        return torch.zeros_like(images)
    cells = 1 if kind == "mean" else _BLUR_CELLS
    means = F.adaptive_avg_pool2d(images, cells)
    return F.interpolate(means, size=images.shape[-2:], mode="bilinear")
