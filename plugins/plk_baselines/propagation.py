"""Class labels by diffusion over deep features (Iscen et al., 2019; Aviles-Rivero et al., 2022)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from plk_baselines.diffusion import (
    affinities,
    balanced_seeds,
    certainty,
    diffuse,
    nearest_rows,
    shares,
)
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import (
    Batch,
    Evidence,
    Fuser,
    Model,
    Prediction,
    PseudoLabels,
    Task,
)


@dataclass(frozen=True, kw_only=True)
class LabelPropagation(Fuser):
    """Every round, labels flow from labelled rows along a graph of all rows' features.

    A row of a batch is then labelled by its nearest rows of that graph, and counts by how
    decided they are: 1 - entropy / log N. Before the first round nothing counts. Features are
    those of the model's last scale, averaged over pixels, of length 1.

    Attributes:
        neighbours: of each row in the graph, and of a new row among the graph's.
        alpha: how far labels flow; towards 0 only labelled rows' neighbours get one.
        gamma: power of the cosine similarity; larger trusts only the nearest.
        capacity: the most labelled and the most unlabelled rows in the graph; drawn at random
            where there are more.
    """

    reads: ClassVar[Literal["evidence", "prediction", "nothing"]] = "prediction"
    neighbours: Annotated[int, Field(ge=1)] = 10
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.99
    gamma: Annotated[float, Field(gt=0)] = 3.0
    capacity: Annotated[int, Field(ge=1)] = 20_000

    def make_state(self, task: Task) -> Bank:
        """An empty bank."""
        return Bank(len(task.classes))

    def survey(self, model: Model, labelled: Iterable[Batch], unlabelled: Iterable[Batch]) -> None:
        """Embed all rows, let labels flow, and keep both; labels of unlabelled rows are not read.

        Raises:
            PluginError: the model has no scales.
        """
        seen, label = self._draw(model, labelled, has_labels=True)
        unseen, unknown = self._draw(model, unlabelled, has_labels=False)
        features, label = torch.cat((seen, unseen)), torch.cat((label, unknown)).cpu()
        seeds = balanced_seeds(label, label >= 0, len(self.task.classes))
        graph = affinities(features, self.neighbours, self.gamma)
        scores = shares(diffuse(graph, seeds, self.alpha))
        self.bank.features, self.bank.scores = features, scores.to(features)

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        """Class probabilities (B,N) with weights in [0, 1]; no masks.

        Raises:
            PluginError: the model has no scales.
        """
        queries, bank = embedding(prediction), self.bank
        if not len(bank.features):
            label = queries.new_full((len(queries), len(self.task.classes)), 0.0)
        else:
            affinity, row = nearest_rows(queries, bank.features, self.neighbours, self.gamma)
            label = torch.einsum("qk,qkn->qn", affinity, bank.scores[row]).float()
        label = shares(label)
        return PseudoLabels(label=label, label_weight=certainty(label))

    @property
    def bank(self) -> Bank:
        """The rows of the round's graph."""
        assert isinstance(self.state, Bank)
        return self.state

    def _draw(
        self, model: Model, batches: Iterable[Batch], *, has_labels: bool
    ) -> tuple[Tensor, Tensor]:
        """Features (M,D) and labels (M,), -1 = unknown, of at most `capacity` rows.

        Each row draws a lot, and the highest stay: any set of rows is equally likely.
        """
        rows: list[Tensor] = [torch.empty(0), torch.empty(0, dtype=torch.long), torch.empty(0)]
        features, label, lots = (part.to(self.bank.features.device) for part in rows)
        for batch in batches:
            with torch.no_grad():
                new = embedding(model(batch.image))
            known = batch.has_label if has_labels else torch.zeros_like(batch.has_label)
            features = torch.cat((features, new))
            label = torch.cat((label, batch.label.where(known, -1)))
            lots = torch.cat((lots, torch.rand(len(new)).to(lots)))
            if len(lots) > self.capacity:
                kept = lots.topk(self.capacity).indices
                features, label, lots = features[kept], label[kept], lots[kept]
        return features, label


class Bank(nn.Module):
    """The rows of a graph: features (M,D) of length 1 and class scores (M,N); empty at first."""

    features: Tensor
    scores: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.empty(0, 0))
        self.register_buffer("scores", torch.empty(0, classes))
        self.register_load_state_dict_pre_hook(_reshape)  # type: ignore[no-untyped-call]


def embedding(prediction: Prediction) -> Tensor:
    """Features (B,D) of length 1: the last scale, averaged over pixels.

    Raises:
        PluginError: the model has no scales.
    """
    if not prediction.scales:
        raise PluginError(
            "label-propagation: the model's classifier has no linear head, so no features to "
            "compare: expected a backbone with scales, such as vgg-multiscale"
        )
    return F.normalize(prediction.scales[-1].features.detach().float().mean(dim=(2, 3)), dim=1)


def _reshape(bank: nn.Module, saved: Mapping[str, Any], prefix: str, *_: object) -> None:
    """Make room for as many rows as were saved: a fresh process has an empty bank."""
    for name, buffer in bank.named_buffers():
        if prefix + name in saved:
            setattr(bank, name, buffer.new_empty(saved[prefix + name].shape))
