"""What a fuser owes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from pseudolabel_kit.interfaces import (
    Evidence,
    Fuser,
    LossTerm,
    Prediction,
    PseudoLabels,
    Task,
)
from pseudolabel_kit.plugin.component import Kind
from pseudolabel_kit.testing import rules
from pseudolabel_kit.testing.calls import ROWS, Arguments, RowConformance
from pseudolabel_kit.testing.fault import may_refuse, require, sound
from pseudolabel_kit.testing.learning import gradients, learning
from pseudolabel_kit.testing.samples import (
    detached,
    make_batch,
    make_evidence,
    make_model,
    make_prediction,
)
from pseudolabel_kit.testing.witness import seeded, tensors, unedited, untouched

FLAT: Sequence[tuple[float, float]] = ((0.0, 0.0), (50.0, 1.0), (-50.0, 0.0))  # logit, evidence


class FuserConformance(RowConformance):
    """`fuse` and `loss`: labels in range, from their own row, that the student can learn.

    >>> class TestSharpen(FuserConformance):
    ...     reference = "sharpen:norm=pixel"
    >>> TestSharpen().test_shapes_types_and_ranges()
    """

    kind: ClassVar[Kind] = "fuser"
    call: ClassVar[str] = "fuse"

    def arguments(self, task: Task, rows: int = ROWS, seed: int = 0) -> Arguments:
        """A random prediction and two maps."""
        return {
            "prediction": make_prediction(rows, task, seed),
            "evidence": make_evidence(rows, task, seed),
        }

    def flat(self, task: Task) -> list[Arguments]:
        """Predictions that say one thing everywhere, undecided or sure, with flat evidence."""
        return [_flat(self.arguments(task, 2), logit, value) for logit, value in FLAT]

    def halved(self, arguments: Arguments, dtype: torch.dtype) -> Arguments:
        """The prediction in half precision; evidence is float32 in any run."""
        prediction: Prediction = arguments["prediction"]
        assert prediction.class_logits is not None
        assert prediction.mask_logits is not None
        halves = replace(
            prediction,
            class_logits=prediction.class_logits.to(dtype),
            mask_logits=prediction.mask_logits.to(dtype),
            scales=tuple(replace(s, features=s.features.to(dtype)) for s in prediction.scales),
        )
        return {**arguments, "prediction": halves}

    def sane(self, answer: Any, rows: int, task: Task) -> None:
        """Pseudo labels by the contract."""
        rules.pseudo_labels(answer, rows, task)

    def test_what_it_reads_is_what_it_says(self) -> None:
        """A fuser that says it reads no evidence does not; one that does copes without any."""
        task = self.tasks[0]
        full = self.arguments(task)
        part = self.begun(task)
        without = {**full, "evidence": {}}
        if part.reads == "evidence":
            with may_refuse():
                self.sane(self.answer(part, without), ROWS, task)
            return
        with_it, alone = self.answer(part, full), self.answer(self.begun(task), without)
        a, b = tensors(with_it), tensors(alone)
        require(
            all(torch.equal(a[name], b[name]) for name in a),
            f'reads = "{part.reads}", yet the labels change with the evidence',
            'say reads: ClassVar[...] = "evidence", or do not read it',
        )

    def test_a_missing_head_is_refused_by_name(self) -> None:
        """A prediction without classes, or without masks, is answered or refused in one line."""
        task = self.tasks[0]
        full = self.arguments(task)
        for head in ("class_logits", "mask_logits"):
            prediction = replace(full["prediction"], **{head: None})
            with may_refuse():
                part = self.begun(task)
                self.sane(self.answer(part, {**full, "prediction": prediction}), ROWS, task)

    def test_the_student_learns_from_its_labels(self) -> None:
        """`loss` gives finite terms; gradients reach the student and nothing that is a target."""
        for task in self.tasks:
            part = self.begun(task)
            if part.reads == "nothing":
                return
            pseudo = self.answer(part, self.arguments(task))
            student, leaves = learning(make_prediction(ROWS, task, seed=2))
            labelled, _ = learning(make_prediction(ROWS, task, seed=3))
            with sound("loss"), unedited("loss", student=student, pseudo=pseudo):
                terms = rules.terms("loss", part.loss(student, pseudo, labelled))
            require(bool(terms), "loss gave no term at all", "return at least one LossTerm by name")
            gradients(_sum(terms), leaves, "loss")

    def test_ignored_pixels_teach_nothing(self) -> None:
        """Where a weight is 0 the student gets no gradient from a pseudo label."""
        task = self.tasks[0]
        part = self.begun(task)
        if part.reads == "nothing" or type(part).loss is not Fuser.loss:
            return
        ignored = _ignored(self.answer(part, self.arguments(task)))
        student, leaves = learning(make_prediction(ROWS, task, seed=2))
        terms = part.loss(student, ignored, make_prediction(ROWS, task, seed=3))
        taught = any(bool(grad.any()) for grad in gradients(_sum(terms), leaves, "loss").values())
        require(not taught, "pixels of weight 0 teach the student", "multiply by the weights")

    def test_a_survey_leaves_the_model_alone(self) -> None:
        """`survey` reads all rows once, under any seed alike, and changes nothing but its state."""
        task = self.tasks[0]
        labels = []
        for _ in range(2):
            part, model = self.begun(task), make_model(task)
            seeded()
            rows = [make_batch(4, task, seed) for seed in (0, 1)]
            with untouched("survey", model), unedited("survey", rows=rows), sound("survey"):
                part.survey(model, iter(rows), iter(rows))
            prediction = detached(model(rows[0].image))
            arguments = {"prediction": prediction, "evidence": make_evidence(4, task)}
            labels.append(tensors(self.answer(part, arguments)))
        require(
            all(torch.equal(labels[0][name], labels[1][name]) for name in labels[0]),
            "two surveys of the same rows lead to other labels",
            "draw from torch's global generator alone",
        )


def _flat(arguments: Arguments, logit: float, value: float) -> Arguments:
    def full(tensor: Tensor | None, fill: float) -> Tensor | None:
        return None if tensor is None else torch.full_like(tensor, fill)

    given: Prediction = arguments["prediction"]
    scales = tuple(replace(s, features=torch.zeros_like(s.features)) for s in given.scales)
    return {
        "prediction": replace(
            given,
            class_logits=full(given.class_logits, logit),
            mask_logits=full(given.mask_logits, logit),
            scales=scales,
        ),
        "evidence": {
            key: Evidence(map=torch.full_like(e.map, value), family=e.family)
            for key, e in arguments["evidence"].items()
        },
    }


def _sum(terms: Mapping[str, LossTerm]) -> Tensor:
    return torch.stack([term.total.sum() for term in terms.values()]).sum()


def _ignored(pseudo: PseudoLabels) -> PseudoLabels:
    def none(weight: Tensor | None) -> Tensor | None:
        return None if weight is None else torch.zeros_like(weight)

    return replace(
        pseudo,
        mask_weight=none(pseudo.mask_weight),
        label_weight=none(pseudo.label_weight),
    )
