"""Occlusion: how much of the class score is lost with each part of the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import captum.attr  # type: ignore[import-untyped]
from pydantic import Field
from torch import Tensor

from plk_captum.adapter import ask
from pseudolabel_kit.attribution import Baseline, ClassEvidence, ClassScores, baseline_of


@dataclass(frozen=True, kw_only=True)
class Occlusion(ClassEvidence):
    """F(x) - F(x with a window of its baseline), at each pixel the mean over its windows.

    After Zeiler and Fergus (2014, section 4.2), who slid a grey square. The only method here
    without gradients, and the dearest: windows are shares of the image, so that their number,
    and with it the cost, is the same for every size: about ((cells - 1) / stride + 1)^2 forward
    passes of the batch, 49 by default.

    Attributes:
        baseline: what the window shows: the image blurred, its mean in each channel, or black.
        cells: the window's side is the image's over this.
        stride: the step from window to window, as a share of the window.
        internal_batch: images in one forward pass, at least those of the batch; memory grows
            with it.
    """

    baseline: Baseline = "blur"
    cells: Annotated[int, Field(ge=2)] = 4
    stride: Annotated[float, Field(gt=0, le=1)] = 0.5
    internal_batch: Annotated[int, Field(ge=1)] = 16

    def credit(self, scores: ClassScores, images: Tensor, label: Tensor) -> Tensor:
        """(B,C,H,W): positive where the window lowered the score, alike for all channels."""
        rows, channels, *sides = images.shape
        window = [max(1, round(side / self.cells)) for side in sides]
        return ask(
            captum.attr.Occlusion(scores),
            images,
            label,
            sliding_window_shapes=(channels, *window),
            strides=(channels, *(max(1, round(side * self.stride)) for side in window)),
            baselines=baseline_of(images, self.baseline),
            perturbations_per_eval=max(1, self.internal_batch // rows),
        )
