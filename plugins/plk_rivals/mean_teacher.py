"""Mean Teacher (Tarvainen & Valpola, 2017): soft labels under a squared error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pseudolabel_kit.interfaces import Evidence, Fuser, LossTerm, Prediction, PseudoLabels, Task
from pseudolabel_kit.losses import comparable, mean_over_pixels


@dataclass(frozen=True, kw_only=True)
class MeanTeacher(Fuser):
    """The student answers with the teacher's probabilities; the teacher is `method.teacher`.

    Attributes:
        targets: what is pseudo-labelled: masks, classes, or both.
    """

    reads: ClassVar[Literal["evidence", "prediction", "nothing"]] = "prediction"
    targets: Literal["mask", "class", "both"] = "mask"

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        """Probabilities of masks (B,K,H,W) and classes (B,N), all with weight 1."""
        mask = mask_weight = label = label_weight = None
        if self.targets != "class":
            mask = prediction.need_masks("mean-teacher").float().sigmoid()
            mask_weight = torch.ones_like(mask[:, :1])
        if self.targets != "mask":
            label = prediction.need_classes("mean-teacher").float().softmax(dim=1)
            label_weight = torch.ones_like(label[:, 0])
        return PseudoLabels(
            mask=mask, mask_weight=mask_weight, label=label, label_weight=label_weight
        )

    def loss(
        self, student: Prediction, pseudo: PseudoLabels, labelled: Prediction
    ) -> Mapping[str, LossTerm]:
        """The squared error, its mean over all pixels and over all rows and classes."""
        terms = {}
        if pseudo.mask is not None and pseudo.mask_weight is not None:
            logits = student.need_masks("mean-teacher")
            error = squared_error(logits, pseudo.mask, self.task)
            terms["mask"] = mean_over_pixels(error * pseudo.mask_weight)
        if pseudo.label is not None and pseudo.label_weight is not None:
            answer = student.need_classes("mean-teacher").float().softmax(dim=1)
            rows = (answer - pseudo.label).square().mean(dim=1) * pseudo.label_weight
            terms["label"] = LossTerm(total=rows, count=torch.ones_like(rows))
        return terms


def squared_error(mask_logits: Tensor, target: Tensor, task: Task) -> Tensor:
    """(B,K,H,W): the squared difference of the student's probability from the target.

    Where the target is corrected for the background weight w, so is the student's answer: the
    two would otherwise meet at another decoder than the one that labelled masks train.
    """
    probability = comparable(mask_logits.float(), task).sigmoid()
    return (probability - target).square()
