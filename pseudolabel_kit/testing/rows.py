"""What parts owe whose rows are answered each by itself: batchmates do not matter."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn.functional import one_hot

from pseudolabel_kit.interfaces import Prediction, Task
from pseudolabel_kit.testing.answers import ROWS, alone, among, guest, row_of
from pseudolabel_kit.testing.calls import Arguments, CallConformance
from pseudolabel_kit.testing.settings import drawn

LIKELY = 3.0  # added to the logit of the class that a row is to be of
FIX = (
    "take minima, means and norms over dim=(1, 2, 3), never over the rows (dim 0), and divide by "
    "no number of rows; read a running mean before this batch updates it"
)


class RowConformance(CallConformance):
    """Promises of a part whose rows are answered each by itself."""

    def test_no_row_depends_on_its_batchmates(self) -> None:
        """A row's answer stays when the other rows of its batch are exchanged."""
        for task in self.tasks:
            self._stays_beside_loud_mates(task)
            for shift in range(2 if "prediction" in self.arguments(task, 1) else 1):
                self._stays_without_mates(task, shift)

    def _stays_beside_loud_mates(self, task: Task) -> None:
        own, strangers = (self.arguments(task, seed=seed) for seed in (0, 1))
        one = self.answer(self.begun(task), self.among(own, own, 1.0))
        other = self.answer(self.begun(task), self.among(own, strangers, 0.3))
        self._same_row(0, row_of(one, 0), row_of(other, 0))

    def _stays_without_mates(self, task: Task, shift: int) -> None:
        """Every row is asked by itself; where chance would then fall otherwise, among others."""
        whole = self.answer(self.begun(task), self._of_all_classes(task, shift))
        by_chance = drawn()
        for row in range(ROWS):
            own, mates = (self._of_all_classes(task, shift, seed) for seed in (0, 1))
            less = guest(own, mates, row) if by_chance else alone(own, row)
            found = self.answer(self.begun(task), less)
            own_row = row_of(found, row) if by_chance else row_of(found, 0, rows=1)
            self._same_row(row, row_of(whole, row), own_row)

    def _same_row(self, row: int, one: object, other: object) -> None:
        self._agree(one, other, f"row {row} changed with its batchmates", FIX, 1e-4)

    def _of_all_classes(self, task: Task, shift: int, seed: int = 0) -> Arguments:
        """Arguments whose rows are predicted to be of one class after the other.

        Of five rows and three classes one is alone in its class: with `shift` it is another.
        """
        arguments = self.arguments(task, seed=seed)
        prediction: Prediction | None = arguments.get("prediction")
        if prediction is None or prediction.class_logits is None:
            return arguments
        classes = len(task.classes)
        wanted = one_hot((torch.arange(ROWS) + shift) % classes, classes)
        logits = prediction.class_logits + LIKELY * wanted
        return {**arguments, "prediction": replace(prediction, class_logits=logits)}

    def among(self, own: Arguments, mates: Arguments, loudness: float) -> Arguments:
        """The first row of `own`, faint, with the other rows of `mates`, as loud as is said.

        Beside a faint row, louder mates decide any maximum, mean or norm over the rows.
        """
        mixed: Arguments = among(own, mates, loudness)
        return mixed
