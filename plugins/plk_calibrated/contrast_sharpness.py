"""The paper's strong view: contrast and sharpness, drawn anew for every row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pseudolabel_kit.interfaces import Batch, Perturbation, View

Change = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class ContrastSharpness(Perturbation):
    """One strong view whose pixels stay where they are: pseudo labels fit it unchanged.

    Attributes:
        contrast: factors are drawn from 1 - contrast to 1 + contrast; 0 would be flat grey.
        sharpness: factors are drawn from 1 - sharpness to 1 + sharpness; 0 would be the
            image under a 3x3 smoothing, 2 undoes about as much blur.
    """

    contrast: Change = 0.5
    sharpness: Change = 1.0

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        """One view, in [0, 1]."""
        image = view.batch.image
        image = _blend(image.mean(dim=(1, 2, 3), keepdim=True), image, self.contrast)
        image = _blend(_smooth(image), image, self.sharpness)
        return [view.with_image(image)]


def _blend(dull: Tensor, image: Tensor, change: float) -> Tensor:
    """Each row somewhere on the line from `dull` (factor 0) through itself (1) and beyond."""
    factor = torch.empty(len(image), 1, 1, 1, device=image.device, dtype=image.dtype)
    return torch.lerp(dull, image, factor.uniform_(1 - change, 1 + change)).clamp(0, 1)


def _smooth(image: Tensor) -> Tensor:
    """Each channel under the mean of 3x3 pixels, the middle one counting five times."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    return (F.avg_pool2d(padded, 3, stride=1) * 9 + image * 4) / 13
