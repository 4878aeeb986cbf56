"""Parts that tests install: a fuser that remembers, an explainer that learns, and worse ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from pseudolabel_kit.interfaces import (
    Batch,
    Evidence,
    Explainer,
    Fuser,
    LossTerm,
    Model,
    Perturbation,
    Prediction,
    PseudoLabels,
    Ramp,
    Task,
    View,
)

COMPONENTS = tuple(
    f"{kind!r}, {name!r}, 'tiny_parts:{part}', 'for a test'"
    for kind, name, part in (
        ("fuser", "remembering", "Remembering"),
        ("fuser", "surveying", "Surveying"),
        ("explainer", "learning", "Learning"),
        ("perturbation", "dropping", "Dropping"),
        ("perturbation", "two-views", "TwoViews"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Remembering(Fuser):
    """Counts what it labelled and lets the mean of it decide, like FreeMatch's threshold."""

    reads: ClassVar[Literal["evidence", "prediction", "nothing"]] = "prediction"

    def make_state(self, task: Task) -> nn.Module:
        state = nn.Module()
        state.register_buffer("mean", torch.tensor(0.5))
        state.register_buffer("seen", torch.tensor(0))
        return state

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        state = self.state
        assert state is not None
        share = torch.sigmoid(prediction.mask_logits)
        state.get_buffer("mean").lerp_(share.mean(), 0.1)
        state.get_buffer("seen").add_(len(share))
        mask = (share >= state.get_buffer("mean")).float()
        return PseudoLabels(mask=mask, mask_weight=torch.ones_like(mask[:, :1]))


@dataclass(frozen=True, kw_only=True)
class Surveying(Remembering):
    """Remembers how many rows of each stream it was shown, and the sum of the teacher's weights."""

    def make_state(self, task: Task) -> nn.Module:
        state = super().make_state(task)
        for name in ("rounds", "labelled", "unlabelled", "masks", "weights"):
            state.register_buffer(name, torch.tensor(0.0))
        return state

    def survey(self, model: Model, labelled: Iterable[Batch], unlabelled: Iterable[Batch]) -> None:
        state = self.state
        assert state is not None
        assert isinstance(model, nn.Module)
        assert not model.training
        state.get_buffer("rounds").add_(1)
        state.get_buffer("labelled").fill_(sum(len(batch.image) for batch in labelled))
        rows = list(unlabelled)
        state.get_buffer("unlabelled").fill_(sum(len(batch.image) for batch in rows))
        state.get_buffer("masks").fill_(sum(int(batch.has_mask.sum()) for batch in rows))
        state.get_buffer("weights").fill_(sum(float(p.sum()) for p in model.parameters()))


@dataclass(frozen=True, kw_only=True)
class Dropping(Perturbation):
    """The view as it is, and once more without the features that the decoder reads."""

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        return [view, replace(view, on_features=lambda maps: tuple(0 * each for each in maps))]


@dataclass(frozen=True, kw_only=True)
class Learning(Explainer):
    """A head on the decoder's answer, trained by the masks."""

    start: str = "0%"

    def make_state(self, task: Task) -> nn.Module:
        return nn.Conv2d(task.mask_channels, 1, 1)

    def explain(self, model: Model, images: Tensor, prediction: Prediction) -> Tensor:
        return self._map(prediction).sigmoid()

    def loss(self, prediction: Prediction, batch: Batch) -> LossTerm:
        off = (self._map(prediction) - batch.mask).square().mean(dim=(1, 2, 3))
        return LossTerm(total=off * batch.has_mask, count=batch.has_mask.float())

    def loss_ramp(self) -> Ramp:
        return Ramp(start=self.start)

    def _map(self, prediction: Prediction) -> Tensor:
        head = self.state
        assert head is not None
        found: Tensor = head(prediction.mask_logits)
        return found


@dataclass(frozen=True, kw_only=True)
class TwoViews(Perturbation):
    """The image as it is, and its negative."""

    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        return [view, view.with_image(1 - view.batch.image)]
