"""MultiMix's two consistency terms (Haque et al., 2021): confident classes, like masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, TypeAlias

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pseudolabel_kit.interfaces import Evidence, Fuser, LossTerm, Prediction, PseudoLabels
from pseudolabel_kit.losses import mean_over_pixels

Categories: TypeAlias = Literal["two-category", "softmax"]
Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class MultiMixFuser(Fuser):
    """Hard class labels where the weak view is confident; masks drawn together across streams.

    Attributes:
        threshold: the least class probability that counts.
        label_weight: of the cross-entropy on those labels, a mean over all rows.
        kl_weight: of the divergence between the masks of labelled and unlabelled rows; 0 = off,
            for backbones that do not segment.
        kl: each mask channel as lesion against background, or a softmax over mask channels as
            in the authors' code: over a single channel that is 1, and the term always 0.
    """

    reads: ClassVar[Literal["evidence", "prediction", "nothing"]] = "prediction"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.7
    label_weight: Weight = 0.25
    kl_weight: Weight = 0.01
    kl: Categories = "two-category"

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        """One-hot labels (B,N) with weights 0 or 1; no masks."""
        logits = prediction.need_classes("multimix").float()
        confidence, best = torch.softmax(logits, dim=1).max(dim=1)
        return PseudoLabels(
            label=F.one_hot(best, logits.shape[1]).float(),
            label_weight=(confidence >= self.threshold).float(),
        )

    def loss(
        self, student: Prediction, pseudo: PseudoLabels, labelled: Prediction
    ) -> Mapping[str, LossTerm]:
        """ "label" and "kl", each with its weight."""
        terms = dict(super().loss(student, pseudo, labelled))
        terms["label"] = _weighed(terms["label"], self.label_weight)
        if self.kl_weight:
            known, guessed = labelled.need_masks("multimix"), student.need_masks("multimix")
            divergence = stream_divergence(known, guessed, self.kl)
            terms["kl"] = _weighed(mean_over_pixels(divergence), self.kl_weight)
        return terms


def stream_divergence(labelled: Tensor, unlabelled: Tensor, kl: Categories) -> Tensor:
    """KL(labelled || unlabelled) at each pixel of mask logits (B,K,H,W); both learn.

    Labelled row i goes with unlabelled row i; the shorter stream starts anew at its end. The
    rows show different images, so that what they can have in common is how much is lesion
    where, and how surely. Returns (B,K,H,W), or (B,1,H,W) for `softmax`.
    """
    rows = torch.arange(max(len(labelled), len(unlabelled)), device=labelled.device)
    p = _log_shares(labelled[rows % len(labelled)].float(), kl)
    q = _log_shares(unlabelled[rows % len(unlabelled)].float(), kl)
    return (p.exp() * (p - q)).sum(dim=0)


def _log_shares(mask_logits: Tensor, kl: Categories) -> Tensor:
    """The logarithm of each category's share, categories first."""
    if kl == "two-category":
        return F.logsigmoid(torch.stack((-mask_logits, mask_logits)))
    return F.log_softmax(mask_logits, dim=1).transpose(0, 1)[:, :, None]


def _weighed(term: LossTerm, weight: float) -> LossTerm:
    return replace(term, total=weight * term.total)
