"""Gaussian noise, as Mean Teacher and its kin disturb their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from pseudolabel_kit.interfaces import Batch, Perturbation, View


@dataclass(frozen=True, kw_only=True)
class Noise(Perturbation):
    """One strong view whose pixels stay where they are: pseudo labels fit it unchanged.

    Attributes:
        std: standard deviation of the noise, in units of the image's range.
        limit: no pixel is changed by more.
    """

    std: Annotated[float, Field(ge=0)] = 0.1
    limit: Annotated[float, Field(ge=0, le=1)] = 0.2

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        """One view, in [0, 1]."""
        image = view.batch.image
        noise = (torch.randn_like(image) * self.std).clamp(-self.limit, self.limit)
        return [view.with_image((image + noise).clamp(0, 1))]
