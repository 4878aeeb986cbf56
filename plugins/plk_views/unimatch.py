"""UniMatch's views (Yang et al., 2023): two strong images, and the weak one with noisy features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import torch.nn.functional as F
from pydantic import Field

from plk_views.colour_jitter import Change, ColourJitter
from plk_views.cutmix import CutMix, Share
from pseudolabel_kit.interfaces import Batch, Perturbation, View

if TYPE_CHECKING:
    from pseudolabel_kit.interfaces.flow import Features

AREA = (0.02, 0.4)  # of the pasted box, as a share of the image, and the largest ratio of its
ASPECT = 1 / 0.3  # sides, as the authors have them


@dataclass(frozen=True, kw_only=True)
class UniMatch(Perturbation):
    """Three views that count 1/4, 1/4 and 1/2 in the loss.

    Two are colour jitter and CutMix, drawn independently; the third shows the weak image, but
    drops channels of every encoder map. As all views share one mean over their rows, the
    weights of their pseudo labels are scaled by 3/4, 3/4 and 3/2.

    Attributes:
        jitter: change of brightness, contrast and saturation, as in `colour-jitter`.
        cutmix: how likely a row is to be pasted into.
        dropout: how likely a channel of a feature map is to be dropped.
    """

    jitter: Change = 0.5
    cutmix: Share = 0.5
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        """Strong, strong, feature dropout: three views of the same rows."""
        strong = [weighed(self._strong(view, labelled), 3 / 4) for _ in range(2)]
        return [*strong, weighed(replace(view, on_features=self._drop), 3 / 2)]

    def _strong(self, view: View, labelled: Batch) -> View:
        change = self.jitter
        jitter = ColourJitter(brightness=change, contrast=change, saturation=change)
        (jittered,) = jitter.perturb(view, labelled)
        (mixed,) = CutMix(p=self.cutmix, area=AREA, aspect=ASPECT).perturb(jittered, labelled)
        return mixed

    def _drop(self, features: Features) -> Features:
        return tuple(F.dropout2d(each, self.dropout, training=True) for each in features)


def weighed(view: View, factor: float) -> View:
    """The view with the weights of all its pseudo labels scaled."""
    pseudo = view.pseudo
    if pseudo.mask_weight is not None:
        pseudo = replace(pseudo, mask_weight=pseudo.mask_weight * factor)
    if pseudo.label_weight is not None:
        pseudo = replace(pseudo, label_weight=pseudo.label_weight * factor)
    return replace(view, pseudo=pseudo)
