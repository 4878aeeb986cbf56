"""CutMix (Yun et al., 2019): a box of another image is pasted, labels and all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from plk_views.paste import boxes, centres_within, paste, take
from pseudolabel_kit.interfaces import Batch, Perturbation, PseudoLabels, View

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class CutMix(Perturbation):
    """One strong view whose rows hold a box of another row of the batch.

    Masks and their weights are pasted with the pixels, class labels mixed by area. Boxes lie
    wholly within the image, as segmentation has it (French et al., 2020); Yun et al. cut off
    what sticks out, and mix by the area that is left.

    Attributes:
        p: how likely a row is to be pasted into.
        area: the box's share of the image is uniform between these two; 0/1 is Yun's
            Beta(1, 1).
        aspect: height over width, relative to the image's, lies between 1/aspect and aspect.
    """

    p: Share = 0.5
    area: tuple[Share, Share] = (0.0, 1.0)
    aspect: Annotated[float, Field(ge=1)] = 1.0

    def __post_init__(self) -> None:
        if self.area[0] > self.area[1]:
            raise ValueError(
                f"area is {self.area[0]}/{self.area[1]}: expected the smaller share first"
            )

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        """One view; a batch of one row stays as it is."""
        image = view.batch.image
        sides = self._sides(image)
        box = boxes(sides, centres_within(sides), (image.shape[2], image.shape[3]))
        return [mix(view, take(view, partners(image)), box)]

    def _sides(self, image: Tensor) -> Tensor:
        """(B,2): height and width as shares; 0 for rows that are left alone."""
        chosen, size, shape = torch.rand(3, len(image), device=image.device)
        low, high = self.area
        side = (low + (high - low) * size).sqrt()
        stretch = torch.exp(log(self.aspect) * (shape - 0.5))  # alike above and below 1
        sides = torch.stack((side * stretch, side / stretch), dim=1).clamp(max=1)
        return sides.where((chosen < self.p)[:, None], 0)


def mix(onto: View, source: View, box: Tensor) -> View:
    """`paste`, and pseudo labels of classes mixed by area."""
    pasted = paste(onto, source, box)
    label, weight = mixed_labels(onto.pseudo, source.pseudo, box.float().mean(dim=(1, 2, 3)))
    return replace(pasted, pseudo=replace(pasted.pseudo, label=label, label_weight=weight))


def mixed_labels(
    onto: PseudoLabels, source: PseudoLabels, share: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Labels (B,N) and weights (B,) whose loss is that of both, weighed by area.

    Weight times label is linear, so that the cross-entropy of the mixture equals
    (1 - share) times the loss on `onto`'s label plus share (B,) times that on `source`'s.
    """
    if onto.label is None or onto.label_weight is None:
        return None, None
    if source.label is None or source.label_weight is None:
        return None, None
    weight = torch.lerp(onto.label_weight, source.label_weight, share)
    weighed = torch.lerp(
        onto.label * onto.label_weight[:, None],
        source.label * source.label_weight[:, None],
        share[:, None],
    )
    ignored = (weight == 0)[:, None]  # any label will do, and nothing may be divided by 0
    label = onto.label.where(ignored, weighed / weight.where(weight > 0, 1)[:, None])
    return label, weight


def partners(image: Tensor) -> Tensor:
    """(B,) int64: a random cycle through all rows; none is its own partner where B > 1."""
    cycle = torch.randperm(len(image), device=image.device)
    return torch.empty_like(cycle).scatter_(0, cycle, cycle.roll(1))
