"""Fusers that keep every promise, each in a way that a careless check would take for a fault."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, TypeAlias

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pseudolabel_kit.interfaces import (
    Batch,
    Evidence,
    Fuser,
    LossTerm,
    Model,
    Prediction,
    PseudoLabels,
    Task,
)


def labels(mask: Tensor) -> PseudoLabels:
    return PseudoLabels(mask=mask, mask_weight=torch.ones_like(mask[:, :1]))


@dataclass(frozen=True, kw_only=True)
class Sound(Fuser):
    """The mean of decoder and evidence.

    Attributes:
        trust: the weight of the evidence.
    """

    trust: Annotated[float, Field(ge=0, le=1)] = 0.5

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        mask = prediction.need_masks(self.origin).float().sigmoid()
        for each in evidence.values():
            mask = mask.lerp(each.map.expand_as(mask), self.trust)
        return labels(self.spoil(mask))

    def spoil(self, mask: Tensor) -> Tensor:
        return mask


# ── innocents ───────────────────────────────────────────────────────────────────────


class Counting(Sound):
    """Reads a running mean, then moves it, like FreeMatch's threshold."""

    def make_state(self, task: Task) -> nn.Module:
        state = nn.Module()
        state.register_buffer("mean", torch.tensor(0.5))
        return state

    def spoil(self, mask: Tensor) -> Tensor:
        assert self.state is not None
        mean = self.state.get_buffer("mean")
        label = (mask >= mean).float()
        mean.lerp_(mask.mean(), 0.1)
        return label


class Noisy(Sound):
    """Draws as the contract says."""

    def spoil(self, mask: Tensor) -> Tensor:
        return (mask + 0.1 * torch.rand_like(mask)).clamp(0, 1)


class Learned(Sound):
    """Has weights, drawn where they are made."""

    def make_state(self, task: Task) -> nn.Module:
        return nn.Conv2d(task.mask_channels, task.mask_channels, 1)

    def spoil(self, mask: Tensor) -> Tensor:
        assert self.state is not None
        with torch.no_grad():
            found: Tensor = self.state(mask).float().sigmoid()
        return found


Held: TypeAlias = Iterable[tuple[Prediction, Mapping[str, Evidence], Batch]]


class Surveying(Sound):
    """Labels by the whole pool, and counts nothing before it has seen it."""

    def make_state(self, task: Task) -> nn.Module:
        state = nn.Module()
        state.register_buffer("features", torch.zeros(0, 0))
        state.register_load_state_dict_pre_hook(room)
        return state

    def survey(self, model: Model, labelled: Iterable[Batch], unlabelled: Iterable[Batch]) -> None:
        assert self.state is not None
        found = [model(batch.image).scales[-1].features.mean(dim=(2, 3)) for batch in unlabelled]
        self.state.features = torch.cat(found)

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        assert self.state is not None
        pseudo = super().fuse(prediction, evidence)
        if not prediction.scales or not len(known := self.state.get_buffer("features")):
            return pseudo
        queries = prediction.scales[-1].features.float().mean(dim=(2, 3))
        near = torch.cdist(queries, known).amin(dim=1).float().clamp(0, 1)
        return replace(pseudo, mask_weight=near[:, None, None, None].expand_as(pseudo.mask[:, :1]))


def room(module: nn.Module, saved: Mapping[str, Tensor], prefix: str, *_: object) -> None:
    module.features = torch.empty_like(saved[f"{prefix}features"])


class Calibrated(Sound):
    """Scales its masks by what held-out rows show."""

    def make_state(self, task: Task) -> nn.Module:
        state = nn.Module()
        state.register_buffer("scale", torch.ones(()))
        return state

    def calibrate(self, held: Held) -> None:
        assert self.state is not None
        known = [(batch.mask[batch.has_mask], batch.has_mask) for _, _, batch in held]
        if sum(int(has.sum()) for _, has in known):
            self.state.get_buffer("scale").copy_(torch.cat([mask for mask, _ in known]).mean())

    def spoil(self, mask: Tensor) -> Tensor:
        assert self.state is not None
        return (mask * self.state.get_buffer("scale")).float()


@cache
def blur(side: int) -> Tensor:
    return torch.full((1, 1, side, side), 1 / side**2)


class Cached(Sound):
    """Makes a kernel once in a process."""

    def spoil(self, mask: Tensor) -> Tensor:
        rows = F.conv2d(mask.flatten(0, 1)[:, None], blur(3), padding=1).float()
        return rows.reshape(mask.shape).clamp(0, 1)


class Tying(Sound):
    """Ties both streams, whatever the pseudo labels weigh, like MultiMix."""

    def loss(self, student: Prediction, pseudo: PseudoLabels, labelled: Prediction) -> Any:
        far = student.need_masks("").float().mean() - labelled.need_masks("").float().mean()
        total = far.square().expand(len(student.need_masks("")))
        terms = super().loss(student, pseudo, labelled)
        return {**terms, "tie": LossTerm(total=total, count=torch.ones_like(total).detach())}
