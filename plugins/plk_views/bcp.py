"""Bidirectional copy-paste (Bai et al., 2023) between labelled and unlabelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from plk_views.paste import boxes, centres_within, paste, take_batch
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import Batch, Perturbation, PseudoLabels, View


@dataclass(frozen=True, kw_only=True)
class BidirectionalCopyPaste(Perturbation):
    """Two views: labelled boxes in unlabelled rows, and unlabelled boxes in labelled rows.

    Labelled pixels are taught their truth, with weight 1. Labelled rows without a mask are
    passed over, the others go round where they are fewer. A mixture has no one class, so
    pseudo labels of classes are dropped.

    Attributes:
        size: the box's sides, as shares of the image's; it lies anywhere within the image.
        alpha: factor on the weight of pseudo-labelled pixels.
    """

    size: Annotated[float, Field(gt=0, lt=1)] = 2 / 3
    alpha: Annotated[float, Field(ge=0)] = 0.5

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        """Two views; where no labelled row has a mask, the view as it is.

        Raises:
            PluginError: the fuser labels no masks.
        """
        pseudo = view.pseudo
        if pseudo.mask is None or pseudo.mask_weight is None:
            raise PluginError(
                "bcp: the fuser labels no masks: expected one that does, such as pseudo-label"
            )
        known = labelled.has_mask.nonzero()[:, 0]
        if not len(known):
            return [view]
        weight = pseudo.mask_weight * self.alpha
        unlabelled = replace(view, pseudo=PseudoLabels(mask=pseudo.mask, mask_weight=weight))
        turn = torch.arange(len(view.batch.image), device=known.device)
        first, second = (
            _of_truth(view, take_batch(labelled, known[(turn + shift) % len(known)]))
            for shift in (0, 1)
        )
        return [
            paste(unlabelled, first, self._boxes(view.batch.image)),
            paste(second, unlabelled, self._boxes(view.batch.image)),
        ]

    def _boxes(self, image: Tensor) -> Tensor:
        sides = torch.full((len(image), 2), self.size, device=image.device)
        return boxes(sides, centres_within(sides), (image.shape[2], image.shape[3]))


def _of_truth(view: View, batch: Batch) -> View:
    """Labelled rows as a view like `view`, whose labels are their masks."""
    weight = torch.ones_like(batch.mask[:, :1])
    return replace(view, batch=batch, pseudo=PseudoLabels(mask=batch.mask, mask_weight=weight))
