"""Integrated gradients (Sundararajan et al., 2017) along the straight path, by captum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import captum.attr  # type: ignore[import-untyped]
from pydantic import Field
from torch import Tensor

from pseudolabel_kit.attribution import Attribution, ClassScores

Method = Literal[
    "riemann_right", "riemann_left", "riemann_middle", "riemann_trapezoid", "gausslegendre"
]


@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(Attribution):
    """Eq. 6 by the sum of eq. 7: (x - x') times the mean gradient on the way from x' to x.

    On instance-normalised networks the score jumps near a constant baseline and hardly moves
    after it: more steps buy little there. From the blurred image 8 steps leave about a third of
    the score unexplained and 4 steps two thirds, yet both rank pixels alike, and so does
    `input-x-gradient` at a fraction of the cost.

    Attributes:
        steps: t, points on the path.
        method: the quadrature; riemann_right is eq. 7 as printed.
        internal_batch: images in one forward pass, at least those of the batch; memory grows
            with it.
    """

    steps: Annotated[int, Field(ge=2)] = 4
    method: Method = "riemann_right"
    internal_batch: Annotated[int, Field(ge=1)] = 16

    def attribute(self, scores: ClassScores, images: Tensor, base: Tensor, label: Tensor) -> Tensor:
        """Signed attributions (B,C,H,W)."""
        attributions: Tensor = captum.attr.IntegratedGradients(scores).attribute(
            images,
            baselines=base,
            target=label,
            n_steps=self.steps,
            method=self.method,
            internal_batch_size=max(self.internal_batch, len(images)),
        )
        return attributions
