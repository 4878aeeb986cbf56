"""Who learns: predictions that collect gradients, rows whose missing truth is rubbish, weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from pseudolabel_kit.interfaces import Batch, LossTerm, Prediction, PseudoLabels, Task
from pseudolabel_kit.losses import consistency
from pseudolabel_kit.testing.answers import ROWS
from pseudolabel_kit.testing.fault import require
from pseudolabel_kit.testing.samples import make_pseudo


def learning(prediction: Prediction) -> tuple[Prediction, list[Tensor]]:
    """A prediction whose tensors are leaves that collect gradients, and those leaves."""
    leaves: list[Tensor] = []

    def leaf(tensor: Tensor) -> Tensor:
        leaves.append(tensor.detach().clone().requires_grad_())
        return leaves[-1]

    found = prediction
    return Prediction(
        class_logits=None if found.class_logits is None else leaf(found.class_logits),
        mask_logits=None if found.mask_logits is None else leaf(found.mask_logits),
        scales=tuple(
            replace(s, features=leaf(s.features), weight=leaf(s.weight)) for s in found.scales
        ),
        sides=tuple(leaf(side) for side in found.sides),
    ), leaves


def partly_known(batch: Batch) -> Batch:
    """The batch without the label of every second row, and without the masks of the last two."""
    rows = torch.arange(len(batch.image))
    return replace(batch, has_label=rows % 2 == 0, has_mask=rows < len(rows) - 2)


def garbled(batch: Batch) -> Batch:
    """The batch with another label and another mask where `has_label` and `has_mask` are false."""
    label = torch.where(batch.has_label, batch.label, (batch.label == 0).long())
    hidden = ~batch.has_mask[:, None, None, None]
    return replace(batch, label=label, mask=torch.where(hidden, 1 - batch.mask, batch.mask))


def total(terms: Mapping[str, LossTerm]) -> Tensor:
    """The sum of all terms over all rows, a scalar.

    Raises:
        ConformanceError: there is no term.
    """
    require(bool(terms), "loss gave no term at all", "return at least one LossTerm by name")
    return torch.stack([term.total.sum() for term in terms.values()]).sum()


def unlabelled(prediction: Prediction, task: Task) -> dict[str, LossTerm]:
    """The terms of L_u, of random pseudo labels, for the heads that there are."""
    pseudo: PseudoLabels = make_pseudo(ROWS, task)
    if prediction.mask_logits is None:
        pseudo = replace(pseudo, mask=None, mask_weight=None)
    if prediction.class_logits is None:
        pseudo = replace(pseudo, label=None, label_weight=None)
    return consistency(prediction, pseudo, background_weight=1.0)


def gradients(loss: Tensor, leaves: Sequence[Tensor], call: str) -> dict[str, Tensor]:
    """The gradient of a loss for every leaf that it reaches.

    Raises:
        ConformanceError: it reaches none, or one is not finite.
    """
    require(
        loss.requires_grad,
        f"no gradient leaves {call}: nothing would learn from it",
        "compute it from the prediction, without .detach(), argmax or thresholds on it",
    )
    found = torch.autograd.grad(loss, list(leaves), allow_unused=True)
    reached = {f"gradient {n}": g for n, g in enumerate(found) if g is not None}
    require(
        bool(reached) and all(bool(grad.isfinite().all()) for grad in reached.values()),
        f"the gradients of {call} are missing, NaN or infinite",
        "keep to F.logsigmoid, F.cross_entropy and clamp_min",
    )
    return reached


def stir(network: nn.Module, far: float) -> None:
    """Move every weight by noise of this size, each time the same way."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(far * torch.randn(parameter.shape, generator=rng))
