"""CutOut (DeVries & Taylor, 2017): a box of every image is hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from plk_views.paste import boxes
from pseudolabel_kit.interfaces import Batch, Perturbation, View

GREY = 0.5


@dataclass(frozen=True, kw_only=True)
class CutOut(Perturbation):
    """One strong view with a hole whose pixels the loss ignores; class labels stay.

    The hole's centre is uniform over the image, so that part of it may fall outside.

    Attributes:
        size: the hole's sides, as shares of the image's.
        fill: what the hole shows: each channel's mean over the image, or mid-grey.
    """

    size: Annotated[float, Field(ge=0, le=1)] = 0.5
    fill: Literal["mean", "grey"] = "mean"

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        """One view, in [0, 1]."""
        image, weight = view.batch.image, view.pseudo.mask_weight
        centres = torch.rand(len(image), 2, device=image.device)
        sides = torch.full_like(centres, self.size)
        hole = boxes(sides, centres, (image.shape[2], image.shape[3]))
        if weight is not None:
            weight = weight.masked_fill(hole, 0)
        pseudo = replace(view.pseudo, mask_weight=weight)
        return [replace(view, pseudo=pseudo).with_image(self._filling(image).where(hole, image))]

    def _filling(self, image: Tensor) -> Tensor:
        if self.fill == "grey":
            return torch.full_like(image[:, :, :1, :1], GREY)
        return image.mean(dim=(2, 3), keepdim=True)
