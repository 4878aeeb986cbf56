"""FreeMatch (Wang et al., 2023): thresholds that follow the teacher's own confidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from plk_thresholds.adaptive import Adaptive, Memory, batch_mean
from plk_thresholds.confidence import Choice
from pseudolabel_kit.interfaces import LossTerm, Prediction, PseudoLabels
from pseudolabel_kit.losses import comparable


@dataclass(frozen=True, kw_only=True)
class FreeMatch(Adaptive):
    """Self-adaptive thresholding, and the fairness term against a collapse to few categories.

    Attributes:
        fairness: w_f, the weight of the fairness term beside the consistency loss; 0 = off.
    """

    fairness: Annotated[float, Field(ge=0)] = 0.01

    def start(self, problems: int, categories: int) -> Mapping[str, Tensor]:
        """tau, p and h all begin at 1/C."""
        even = torch.full((problems, categories), 1 / categories)
        confidence = torch.full((problems,), 1 / categories)
        return {"confidence": confidence, "share": even, "histogram": even.clone()}

    def observe(self, choice: Choice, memory: Memory) -> Mapping[str, Tensor]:
        """Means of max q, q and the one-hot label."""
        return {
            "confidence": batch_mean(choice.confidence),
            "share": batch_mean(choice.probability),
            "histogram": batch_mean(choice.one_hot()),
        }

    def weigh_by(self, choice: Choice, memory: Memory) -> Tensor:
        """1[max q >= tau(argmax q)]."""
        return (choice.confidence >= choice.look_up(self.thresholds(memory))).float()

    def thresholds(self, memory: Memory) -> Tensor:
        """tau(c) = p(c) / max p * tau, (G,C)."""
        share = memory["share"]
        return share / share.amax(dim=1, keepdim=True) * memory["confidence"][:, None]

    def loss(
        self, student: Prediction, pseudo: PseudoLabels, labelled: Prediction
    ) -> Mapping[str, LossTerm]:
        """The consistency terms, and a fairness term for each."""
        terms = dict(super().loss(student, pseudo, labelled))
        if self.fairness and pseudo.mask_weight is not None:
            # w is undone as it was in the teacher's logits that p and h are made of
            logits = comparable(student.need_masks("FreeMatch"), self.task)
            counted = pseudo.mask_weight.flatten(2) > 0
            terms["mask.fairness"] = self._fairness(Choice.of_masks(logits), counted)
        if self.fairness and pseudo.label_weight is not None:
            choice = Choice.of_classes(student.need_classes("FreeMatch"))
            counted = pseudo.label_weight[:, None, None] > 0
            terms["label.fairness"] = self._fairness(choice, counted)
        return terms

    def _fairness(self, choice: Choice, counted: Tensor) -> LossTerm:
        """w_f L_f of the student's choices, the same for all rows: it is about the batch."""
        memory = self.memory(choice.target)
        value = self.fairness * fairness(choice, counted, memory["share"], memory["histogram"])
        total = value.expand(len(choice.best))
        return LossTerm(total=total, count=torch.ones_like(total))


def fairness(choice: Choice, counted: Tensor, share: Tensor, histogram: Tensor) -> Tensor:
    """L_f = -H(norm(p / h), norm(p' / h')), a scalar, the mean over problems.

    p and h are the teacher's moving averages (G,C); p' and h' are the means of the student's
    probabilities and of its one-hot labels over the choices that are `counted` (B,1,P). The
    sign is the publication's: descent raises the categories whose p' / h' exceeds p / h, those
    that have probability but not the labels. A category that the batch never chooses has no
    ratio: it is left out of the sum, where the authors' code adds a constant without a gradient.
    """
    among = counted[:, :, None].float()
    count = among.sum().clamp(min=1)
    seen = (choice.one_hot() * among).sum(dim=(0, 3)) / count
    mean = (choice.probability * among).sum(dim=(0, 3)) / count
    expected, actual = _ratio(share, histogram), _ratio(mean, seen)
    log = torch.where(seen > 0, actual, 1.0).log()
    return (expected * log).sum(dim=1).mean()


def _ratio(share: Tensor, histogram: Tensor) -> Tensor:
    """share / histogram (G,C), scaled to sum 1 over C; 0 where the histogram is."""
    tiny = torch.finfo(share.dtype).tiny
    ratio = share * torch.where(histogram > tiny, 1 / histogram, 0.0)
    return ratio / ratio.sum(dim=1, keepdim=True).clamp(min=tiny)
