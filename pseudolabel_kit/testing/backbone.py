"""What a backbone owes whose network learns."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pseudolabel_kit.engine.guard import SUPERVISED
from pseudolabel_kit.interfaces import Batch, LossTerm, Prediction, Task
from pseudolabel_kit.testing import rules
from pseudolabel_kit.testing.answers import ROWS, same
from pseudolabel_kit.testing.fault import may_refuse, require, sound, where
from pseudolabel_kit.testing.learning import (
    garbled,
    gradients,
    learning,
    partly_known,
    total,
    unlabelled,
)
from pseudolabel_kit.testing.network import NetworkConformance
from pseudolabel_kit.testing.samples import detached, make_batch
from pseudolabel_kit.testing.settings import restored, seeded
from pseudolabel_kit.testing.witness import tensors, unedited


class BackboneConformance(NetworkConformance):
    """`build` and `loss`: a network that keeps the `Model` protocol and learns from its terms.

    Networks are called in eval mode, except where they learn.

    >>> class TestVgg(BackboneConformance):
    ...     reference = "vgg-multiscale:width=0.0625"
    >>> TestVgg().test_classify_is_the_class_head()
    """

    def test_its_loss_teaches_rows_with_a_truth_alone(self) -> None:
        """Terms have known names, are finite, and do not read labels and masks that are missing."""
        for task in self.tasks:
            batch = partly_known(make_batch(ROWS, task))
            part, _, prediction = self._learning(task, batch)
            with unedited("loss", prediction=prediction, batch=batch):
                terms = _terms(part, prediction, batch)
            for name in terms:
                require(
                    name.partition(".")[0] in SUPERVISED,
                    f"loss term '{name}' has no weight in a run",
                    f"begin its name with {' or '.join(SUPERVISED)}, as in 'segmentation.edge'",
                )
            one, other = (_taught(part, prediction, each) for each in (batch, garbled(batch)))
            require(
                same(one, other, 1e-5),
                "loss reads the label or mask of rows that have none",
                "multiply by batch.has_label or batch.has_mask, in total and in count",
            )

    def test_every_weight_learns(self) -> None:
        """Every trainable parameter gets a gradient from the supervised terms or from L_u."""
        task = self.tasks[0]
        batch = make_batch(ROWS, task)
        part, network, prediction = self._learning(task, batch)
        loss = total(_terms(part, prediction, batch) | unlabelled(prediction, task))
        named = {n: each for n, each in network.named_parameters() if each.requires_grad}
        found = gradients(loss, list(named.values()), "loss")
        idle = [name for n, name in enumerate(named) if f"gradient {n}" not in found]
        require(
            not idle,
            f"no loss reaches {len(idle)} parameters: {', '.join(idle):.80}",
            "use them in forward, give them a term in loss, or freeze them",
        )

    def test_a_batch_of_one_row_can_be_learned(self) -> None:
        """In training mode one row is answered, or refused in one line."""
        task = self.tasks[0]
        fix = "normalise what has one value a row and channel by nn.GroupNorm or nn.LayerNorm"
        with where("with a batch of one row", fix), may_refuse():
            _, _, answer = self._learning(task, make_batch(1, task))
            self.sane(detached(answer), 1, task)

    def _learning(self, task: Task, batch: Batch) -> tuple[Any, nn.Module, Prediction]:
        """A part, its network in training mode, and the network's answer to a batch."""
        part = self.begun(task)
        network = self._network(part).train()
        seeded()
        doing = "forward in training mode"
        with restored(), unedited(doing, images=batch.image), sound(doing, part):
            return part, network, network(batch.image)


def _terms(part: Any, prediction: Prediction, batch: Batch) -> dict[str, LossTerm]:
    seeded()
    with restored(), sound("loss", part):
        found = part.loss(prediction, batch)
    return rules.terms("loss", found, ROWS)


def _taught(part: Any, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
    """The terms, and the gradients that they send to the prediction."""
    answer, leaves = learning(prediction)
    terms = _terms(part, answer, batch)
    return tensors(terms) | gradients(total(terms), leaves, "loss")
