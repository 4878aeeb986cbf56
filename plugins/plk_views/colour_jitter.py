"""Colour jitter and blur, for grey and colour images alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pseudolabel_kit.interfaces import Batch, Perturbation, View

Change = Annotated[float, Field(ge=0, le=1)]
LEAST_SIGMA = 1e-3  # a Gaussian this narrow leaves the image as it is


@dataclass(frozen=True, kw_only=True)
class ColourJitter(Perturbation):
    """One strong view whose pixels stay where they are: pseudo labels fit it unchanged.

    Brightness, contrast, saturation, then blur, each by a factor of the row's own. Hue is
    never turned: it means nothing on grey images and too much on stained or lit tissue.

    Attributes:
        brightness: factors on the image, from 1 - brightness to 1 + brightness.
        contrast: factors on the distance from the image's mean, likewise.
        saturation: factors on the distance from each pixel's grey, likewise.
        blur: largest standard deviation of the Gaussian, in pixels; 0 = never blurred.
        p: how likely a row is to be changed at all.
    """

    brightness: Change = 0.5
    contrast: Change = 0.5
    saturation: Change = 0.5
    blur: Annotated[float, Field(ge=0, le=10)] = 1.0
    p: Annotated[float, Field(ge=0, le=1)] = 0.8

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        """One view, in [0, 1]."""
        image = view.batch.image
        changed = _blend(torch.zeros_like(image), image, self.brightness)
        changed = _blend(changed.mean(dim=(1, 2, 3), keepdim=True), changed, self.contrast)
        changed = _blend(changed.mean(dim=1, keepdim=True), changed, self.saturation)
        if self.blur:
            changed = gaussian_blur(changed, self.blur * _drawn(image), self.blur)
        chosen = _drawn(image) < self.p
        return [view.with_image(changed.where(chosen[:, None, None, None], image))]


def gaussian_blur(image: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """Each row of (B,C,H,W) under its own Gaussian, sigma (B,) <= largest, edges repeated."""
    rows, channels, height, width = image.shape
    radius = ceil(3 * largest)
    distance = torch.arange(-radius, radius + 1, device=image.device)
    kernel = torch.exp(-(distance / sigma.clamp_min(LEAST_SIGMA)[:, None]).square() / 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).to(image.dtype)
    kernel = kernel.repeat_interleave(channels, dim=0)[:, None, None]
    planes = F.pad(image, (radius,) * 4, mode="replicate").flatten(0, 1)[None]
    planes = F.conv2d(planes, kernel, groups=rows * channels)
    planes = F.conv2d(planes, kernel.transpose(2, 3), groups=rows * channels)
    return planes.reshape(rows, channels, height, width).clamp(0, 1)


def _blend(dull: Tensor, image: Tensor, change: float) -> Tensor:
    """Each row somewhere on the line from `dull` (factor 0) through itself (1) and beyond."""
    factor = (1 + change * (2 * _drawn(image) - 1)).to(image.dtype)
    return torch.lerp(dull, image, factor[:, None, None, None]).clamp(0, 1)


def _drawn(image: Tensor) -> Tensor:
    """(B,) float32, uniform in [0, 1)."""
    return torch.rand(len(image), device=image.device)
