"""Parts whose rows read each other, or their number, before the kit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import planted_backbones
import planted_explainers
import planted_fusers
import pytest
import torch
from conftest import Site
from planted_support import Offender, Offenders
from torch import Tensor

from pseudolabel_kit.interfaces import Evidence, Prediction, PseudoLabels

in_fusers, in_explainers, in_backbones = map(Offenders, ("fuser", "explainer", "backbone"))
MATES = "no_row_depends_on_its_batchmates"


def before(rows: Tensor) -> Tensor:
    """Every row but the first, averaged with the row before it."""
    return torch.cat((rows[:1], (rows[1:] + rows[:-1]) / 2))


@in_fusers(MATES, r"row 1 changed with its batchmates \(mask by up to", r"dim=\(1, 2, 3\)")
class AveragesWithTheRowBefore(planted_fusers.Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        return before(mask)


@in_fusers(MATES, r"row 1 changed with its batchmates \(mask by up to", "never over the rows")
class AveragesByChance(planted_fusers.Noisy):
    def spoil(self, mask: Tensor) -> Tensor:
        return before(super().spoil(mask))


@in_fusers(MATES, r"row 1 changed with its batchmates \(mask by up to", "running mean")
class MovesItsMeanWithEveryRow(planted_fusers.Sound):
    def spoil(self, mask: Tensor) -> Tensor:
        return mask.cumsum(0) / torch.arange(1, len(mask) + 1)[:, None, None, None]


@in_fusers(MATES, r"row 0 changed with its batchmates \(mask_weight by", "no number of rows")
class SharesAWeightAmongRows(planted_fusers.Sound):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        pseudo = super().fuse(prediction, evidence)
        assert pseudo.mask_weight is not None
        return replace(pseudo, mask_weight=pseudo.mask_weight / len(pseudo.mask_weight))


@in_fusers(MATES, r"row \d changed with its batchmates \(mask by", "never over the rows")
class StretchesTheLastClass(planted_fusers.Sound):
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        pseudo = super().fuse(prediction, evidence)
        last = prediction.need_classes(self.origin).argmax(dim=1) == 2
        if pseudo.mask is None or not last.any():
            return pseudo
        top = pseudo.mask[last].amax().clamp_min(1e-6)
        rows = last[:, None, None, None]
        return replace(pseudo, mask=torch.where(rows, pseudo.mask / top, pseudo.mask))


@in_explainers(MATES, r"row 1 changed with its batchmates \(it by up to", r"dim=\(1, 2, 3\)")
class ExplainsWithTheRowBefore(planted_explainers.Sound):
    def explain(self, model: Any, images: Tensor, prediction: Prediction) -> Tensor:
        return before(super().explain(model, images, prediction))


class NeighbourlyNet(planted_backbones.Net):
    def encode(self, images: Tensor) -> Tensor:
        features = super().encode(images)
        return features if self.training else before(features)


@in_backbones(MATES, r"row 1 changed with its batchmates \(class_logits by", "over the rows")
class ReadsTheRowBefore(planted_backbones.Sound):
    network = NeighbourlyNet


@pytest.mark.parametrize(
    ("kind", "offender"),
    [(kind, each) for kind in (in_fusers, in_explainers, in_backbones) for each in kind.all],
    ids=str,
)
def test_an_offender_is_caught(kind: Offenders, offender: Offender, site: Site) -> None:
    kind.assert_caught(offender, site)
