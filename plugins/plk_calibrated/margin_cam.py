"""The class head's own maps as a probability of lesion: CAM of the margin, taught by pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from plk_calibrated.caam import Levels, chosen
from pseudolabel_kit.evidence import lesion_margin
from pseudolabel_kit.interfaces import (
    Batch,
    Explainer,
    Family,
    LossTerm,
    Model,
    Prediction,
    Ramp,
    Scale,
    Task,
)
from pseudolabel_kit.losses import segmentation
from pseudolabel_kit.plugin import Moment


@dataclass(frozen=True, kw_only=True)
class MarginCam(Explainer):
    """Where the classes that can hold lesions outscore the others, place by place.

    A map of one class says nothing of its rivals, and scaled to its own maximum it marks a
    place on healthy images too. The margin does neither. On rows with a mask it is trained by
    cross-entropy, class head and features with it, as PseudoSeg trains its head (Zou et al.,
    2021); so the class head learns where its class is, and the map is a probability.

    Attributes:
        levels: which of the model's scales, 1 = the shallowest; their margins are averaged.
        pixels: weight of that loss; 0 = the margin as the image's classes alone taught it.
        start: when the loss joins.
    """

    family: ClassVar[Family] = "class-map"
    levels: Levels = (1,)
    pixels: Annotated[float, Field(ge=0)] = 1.0
    start: Moment = "0%"

    def make_state(self, task: Task) -> nn.Module | None:
        """The offset of the margin, which the class head's maps lack without their bias."""
        return Offset() if self.pixels else None

    def explain(self, model: Model, images: Tensor, prediction: Prediction) -> Tensor:
        """(B,1,H,W): the probability that the margin stands for."""
        with torch.no_grad():
            return torch.sigmoid(self._margin(prediction, images)).clamp(0, 1)

    def loss(self, prediction: Prediction, batch: Batch) -> LossTerm | None:
        """Pixel cross-entropy of the margin over rows with a mask; any channel is lesion."""
        if not self.pixels:
            return None
        lesion = batch.mask.amax(dim=1, keepdim=True)
        margin = self._margin(prediction, batch.image)
        return segmentation(margin, lesion, batch.has_mask, background_weight=1.0)

    def loss_ramp(self) -> Ramp:
        """At once, from `start` on."""
        return Ramp(weight=self.pixels, start=self.start)

    def _margin(self, prediction: Prediction, images: Tensor) -> Tensor:
        """(B,1,H,W), as float32."""
        scales = chosen(prediction, self.levels, self.origin)
        size = images.shape[-2:]
        maps = [F.interpolate(margin(s, self.task), size, mode="bilinear") for s in scales]
        mean = torch.stack(maps).mean(dim=0)
        return mean if self.state is None else self.state(mean)


class Offset(nn.Module):
    """A trained constant, from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, margin: Tensor) -> Tensor:
        """The margin, moved."""
        return margin + self.offset


def margin(scale: Scale, task: Task) -> Tensor:
    """(B,1,h,w): log-odds of the classes that can hold lesions, by the head's maps."""
    scores = torch.einsum("nd,bdhw->bnhw", scale.weight, scale.features).float()
    return lesion_margin(scores, task)[:, None]
