"""The sharpen fuser: evidence and decoder, normalised together, mixed, sharpened (eq. 8-10)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pseudolabel_kit.evidence import lesion_classes
from pseudolabel_kit.interfaces import Evidence, Fuser, Prediction, PseudoLabels

Norm = Literal["image-rms", "pixel", "batch-rms", "paper"]
Ratio = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class Sharpen(Fuser):
    """Soft masks from class maps, attributions and the decoder, for every pixel.

    Each map is lifted to two categories, background and foreground, because a softmax over
    one would always be 1. A family that no explainer is of drops out; without any evidence
    the label is the decoder's probability, unchanged.

    The defaults are those that keep a usable label. With `norm=paper` no label passes 0.51;
    with `norm=pixel` a sure decoder ends at 0.71 where the evidence is undecided; with
    `decoder=probability` it is hardly heard; with `gate=none` healthy images get lesions,
    because a scaled map always has a maximum. Under the paper's ratios, 0.3/0.4/0.4, evidence
    outvoted decoders that knew better (on chest CT, Dice of the label 0.14 and 0.08, of the
    decoder 0.33 and 0.42); with 0.1/0.1/0.8 it keeps to the pixels that the decoder is unsure
    of (0.31 and 0.38).

    Attributes:
        ratios: weights of class map, attribution and decoder (lambda, mu, nu); only their
            proportions matter, and explainers of one family share its weight evenly.
        temperature: T of eq. 10; below 1 sharpens, 1 leaves the mixture as it is.
        norm: eq. 9 as root mean square of each image, as root of the sum at each pixel, as
            root mean square of the whole batch (labels then depend on batchmates), or as
            printed, the root of the sum over each image.
        gate: scale evidence by the predicted probability of the classes that can hold
            lesions, by whether one of them is predicted, or not at all.
        decoder: lift the decoder's logit z to (-z/2, z/2), or its probability p to (1-p, p).
    """

    ratios: tuple[Ratio, Ratio, Ratio] = (0.1, 0.1, 0.8)
    temperature: Annotated[float, Field(gt=0)] = 0.5
    norm: Norm = "image-rms"
    gate: Literal["probability", "predicted", "none"] = "probability"
    decoder: Literal["logit", "probability"] = "logit"

    def __post_init__(self) -> None:
        if not sum(self.ratios) > 0:
            raise ValueError("ratios are all 0: expected at least one above")

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        """Masks (B,K,H,W) in [0, 1] with weight 1 everywhere; computed in float32."""
        logits = prediction.need_masks("sharpen").float()
        votes = self._evidence_votes(prediction, evidence)
        if votes:
            if self.ratios[2]:
                votes.append(self._decoder_vote(logits))
            mask = sharpen(mixture(votes, self.norm), self.temperature).expand_as(logits)  # eq. 8
        else:
            mask = torch.sigmoid(logits)
        return PseudoLabels(mask=mask, mask_weight=torch.ones_like(mask[:, :1]))

    def _evidence_votes(
        self, prediction: Prediction, evidence: Mapping[str, Evidence]
    ) -> list[Vote]:
        """Evidence a, gated, lifted to (1-a, a); what has no weight has no vote."""
        ratio = {"class-map": self.ratios[0], "attribution": self.ratios[1], "uncertainty": 0.0}
        sharers = Counter(item.family for item in evidence.values())
        gate = self._gate(prediction)
        return [
            Vote(ratio[e.family] / sharers[e.family], 2 * gate * e.map.float() - 1, 1)
            for e in evidence.values()
            if ratio[e.family]
        ]

    def _decoder_vote(self, logits: Tensor) -> Vote:
        """z lifted to (-z/2, z/2), or p to (1-p, p), where 2p - 1 = tanh(z/2)."""
        if self.decoder == "logit":
            return Vote(self.ratios[2], logits, 0)
        return Vote(self.ratios[2], torch.tanh(logits / 2), 1)

    def _gate(self, prediction: Prediction) -> Tensor:
        """(B,1,1,1) in [0, 1]: how likely each image is to hold a lesion at all."""
        if self.gate == "none":
            return prediction.need_masks("sharpen").new_ones(1, 1, 1, 1)
        logits = prediction.need_classes("sharpen:gate").float()
        if self.gate == "probability":
            share = torch.softmax(logits, dim=1)
        else:
            share = F.one_hot(logits.argmax(dim=1), logits.shape[1]).float()
        return share[:, lesion_classes(self.task)].sum(dim=1)[:, None, None, None]


@dataclass(frozen=True)
class Vote:
    """A map lifted to two categories, kept as their difference and their sum.

    The two are all that eq. 8 and 9 need: a softmax over two categories is the sigmoid of
    their difference, and the sum of their squares is (difference^2 + sum^2) / 2.

    Attributes:
        weight: lambda, mu or nu, not yet normalised.
        margin: (B,1,H,W) or (B,K,H,W), foreground minus background.
        total: foreground plus background, alike for every pixel.
    """

    weight: float
    margin: Tensor
    total: float


def mixture(votes: Sequence[Vote], norm: Norm) -> Tensor:
    """The foreground's share (B,1 or K,H,W) of the sum inside eq. 8, its weights summing to 1."""
    n = norm_of(votes, norm)
    weights = sum(vote.weight for vote in votes)
    shares = (torch.sigmoid(vote.margin / n) * (vote.weight / weights) for vote in votes)
    return reduce(torch.add, shares)


def norm_of(votes: Sequence[Vote], norm: Norm) -> Tensor:
    """Norm(c, s, p) of eq. 9, for each mask channel by itself; broadcasts against the maps."""
    if norm == "pixel":
        squares = [(vote.margin.square() + vote.total**2) / 2 for vote in votes]
        return reduce(torch.add, squares).sqrt()
    dims = (0, 2, 3) if norm == "batch-rms" else (2, 3)
    means = [(vote.margin.square().mean(dims, True) + vote.total**2) / 2 for vote in votes]
    pixels = votes[0].margin[0, 0].numel()
    scale = pixels if norm == "paper" else 1 / (2 * len(votes))
    return (reduce(torch.add, means) * scale).sqrt()


def sharpen(share: Tensor, temperature: float) -> Tensor:
    """Eq. 10 for two categories with shares (1-q, q): the sigmoid of logit(q) / T, exactly."""
    return torch.sigmoid(torch.logit(share) / temperature)
