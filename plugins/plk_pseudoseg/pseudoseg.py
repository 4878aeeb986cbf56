"""The fuser of PseudoSeg (Zou et al., 2021): decoder and class map, scaled alike, sharpened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import Evidence, Fuser, LossTerm, Prediction, PseudoLabels
from pseudolabel_kit.losses import weighted_bce

SURE = 1e-6  # evidence nearer to 0 or 1 counts as this near: its logit would be infinite
EPSILON = 1e-8


@dataclass(frozen=True, kw_only=True)
class PseudoSeg(Fuser):
    """Soft masks without a threshold: the mean of two calibrated softmaxes, sharpened.

    The class map's logits come back from its probability. A lesion's logit z stands for the
    two categories' (-z/2, z/2): what both have in common is lost, and changes no softmax.

    Attributes:
        temperature: T; below 1 sharpens, 1 leaves the mixture as it is.
        norm: the root mean square that divides both maps is that of each image, or of the
            whole batch as in the authors' code (labels then depend on batchmates).
    """

    temperature: Annotated[float, Field(gt=0)] = 0.5
    norm: Literal["image-rms", "batch-rms"] = "image-rms"

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        """Masks (B,K,H,W) in [0, 1] with weight 1 everywhere; several class maps are averaged.

        Raises:
            PluginError: no explainer gives class maps.
        """
        decoder = prediction.need_masks("pseudoseg").float()
        maps = [e.map.float() for e in evidence.values() if e.family == "class-map"]
        if not maps:
            raise PluginError(
                "pseudoseg: there is no class map to fuse: expected an explainer such as sgc"
            )
        votes = torch.stack([map_.logit(SURE).expand_as(decoder) for map_ in maps])
        mask = calibrated_mean(decoder, votes.mean(dim=0), self.norm, self.temperature)
        return PseudoLabels(mask=mask, mask_weight=torch.ones_like(mask[:, :1]))

    def loss(
        self, student: Prediction, pseudo: PseudoLabels, labelled: Prediction
    ) -> Mapping[str, LossTerm]:
        """Cross-entropy as a mean over the pixels that count, not over all: holes weigh nothing."""
        assert pseudo.mask is not None
        assert pseudo.mask_weight is not None
        logits = student.need_masks("pseudoseg")
        weight = pseudo.mask_weight.expand_as(logits)
        pixels = weighted_bce(logits, pseudo.mask, self.task.background_weight) * weight
        return {"mask": LossTerm(total=pixels.sum(dim=(1, 2, 3)), count=weight.sum(dim=(1, 2, 3)))}


def calibrated_mean(
    decoder: Tensor, class_map: Tensor, norm: Literal["image-rms", "batch-rms"], temperature: float
) -> Tensor:
    """Sharpen((softmax(d/n) + softmax(s/n)) / 2, T) of logits (B,K,H,W): the lesion's share.

    n is one root mean square over both maps, both categories and all mask channels.
    """
    dims = (1, 2, 3) if norm == "image-rms" else (0, 1, 2, 3)
    # A map's categories are -z/2 and z/2: z^2 / 2 from each of two maps, over four values a pixel.
    mean_square = (decoder.square() + class_map.square()).mean(dims, keepdim=True) / 8
    n = (mean_square + EPSILON).sqrt()
    share = (torch.sigmoid(decoder / n) + torch.sigmoid(class_map / n)) / 2
    return torch.sigmoid(share.logit() / temperature)
