"""What the methods of this plugin share: hard labels, and a weight by how sure they are.

Shapes    B rows; P places in a row: the pixels of a mask, or 1 for an image's class;
          G problems at every place: the K mask channels, or 1;
          C categories of a problem: background and lesion, or the N classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeAlias

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pseudolabel_kit.interfaces import Evidence, Fuser, Prediction, PseudoLabels

Target: TypeAlias = Literal["mask", "class"]
Threshold = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A prediction as choices among categories: masks and classes look alike from here on.

    Attributes:
        target: what is chosen.
        probability: (B,G,C,P), summing to 1 over C.
        confidence: (B,G,P), the largest of them; max(p, 1-p) for a mask.
        best: (B,G,P) int64, which one that is; 1 = lesion for a mask.
    """

    target: Target
    probability: Tensor
    confidence: Tensor
    best: Tensor

    @classmethod
    def of_masks(cls, mask_logits: Tensor) -> Choice:
        """Between background and lesion, by mask_logits (B,K,H,W)."""
        z = mask_logits.float().flatten(2)
        return cls._of("mask", torch.stack((torch.sigmoid(-z), torch.sigmoid(z)), dim=2))

    @classmethod
    def of_classes(cls, class_logits: Tensor) -> Choice:
        """Among classes, by class_logits (B,N)."""
        return cls._of("class", torch.softmax(class_logits.float(), dim=1)[:, None, :, None])

    @classmethod
    def _of(cls, target: Target, probability: Tensor) -> Choice:
        confidence, best = probability.max(dim=2)
        return cls(target=target, probability=probability, confidence=confidence, best=best)

    def one_hot(self) -> Tensor:
        """(B,G,C,P): 1 at the best category."""
        return F.one_hot(self.best, self.probability.shape[2]).movedim(-1, 2).float()

    def look_up(self, table: Tensor) -> Tensor:
        """(B,G,P): each choice's entry in a table (G,C)."""
        return table[torch.arange(len(table), device=table.device)[:, None], self.best]


@dataclass(frozen=True, kw_only=True)
class ByConfidence(Fuser):
    """The likeliest category becomes the label; how much it counts is the method.

    Attributes:
        targets: what is pseudo-labelled: masks, classes, or both.
    """

    reads: ClassVar[Literal["evidence", "prediction", "nothing"]] = "prediction"
    targets: Literal["mask", "class", "both"] = "mask"

    @abstractmethod
    def weigh(self, choice: Choice) -> Tensor:
        """(B,G,P) in [0, 1]: how much each choice counts."""

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        """Hard masks (B,K,H,W), one-hot labels (B,N), or both, with their weights.

        A pixel counts as much as the least of its mask channels.

        Raises:
            PluginError: the model lacks a head that `targets` asks for.
        """
        mask = mask_weight = label = label_weight = None
        if self.targets != "class":
            logits = prediction.need_masks(type(self).__name__)
            choice = Choice.of_masks(logits)
            mask = choice.best.float().reshape(logits.shape)
            mask_weight = self.weigh(choice).amin(dim=1).reshape(mask[:, :1].shape)
        if self.targets != "mask":
            choice = Choice.of_classes(prediction.need_classes(type(self).__name__))
            label, label_weight = choice.one_hot()[:, 0, :, 0], self.weigh(choice)[:, 0, 0]
        return PseudoLabels(
            mask=mask, mask_weight=mask_weight, label=label, label_weight=label_weight
        )
