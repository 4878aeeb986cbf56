"""What a fuser owes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pseudolabel_kit.interfaces import Batch, Evidence, Fuser, Prediction, PseudoLabels, Task
from pseudolabel_kit.isolate import isolated
from pseudolabel_kit.plugin.component import Kind
from pseudolabel_kit.testing import rules
from pseudolabel_kit.testing.answers import ROWS, same
from pseudolabel_kit.testing.calls import Arguments
from pseudolabel_kit.testing.fault import may_refuse, require, sound, where
from pseudolabel_kit.testing.learning import gradients, learning, total
from pseudolabel_kit.testing.rows import RowConformance
from pseudolabel_kit.testing.samples import (
    make_batch,
    make_evidence,
    make_model,
    make_prediction,
)
from pseudolabel_kit.testing.settings import restored, seeded
from pseudolabel_kit.testing.witness import tensors, unedited, untouched

SURE = 200.0  # a logit whose sigmoid is 1 in float32, and whose contrary's is 0
Held: TypeAlias = tuple[Prediction, Mapping[str, Evidence], Batch]
FLAT: Sequence[tuple[float, float]] = (  # logits and evidence: of one mind, then of two
    (0.0, 0.0),
    (SURE, 1.0),
    (-SURE, 0.0),
    (-SURE, 1.0),
    (SURE, 0.0),
)


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
        """Predictions that say one thing everywhere, undecided or sure, and what evidence says."""
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

    def begun(self, task: Task) -> Any:
        """The fuser as it is once L_u has joined: calibrated, and one that surveys has surveyed."""
        part = super().begun(task)
        self._calibrate(part, _held(task))
        if type(part).survey is not Fuser.survey:
            model = make_model(task)
            with isolated(model):
                self._survey(part, model, _pool(task))
        return part

    def _survey(self, part: Any, model: nn.Module, rows: Sequence[Batch]) -> None:
        seeded()
        with restored(), torch.no_grad(), sound("survey", part):
            part.survey(model, iter(rows), iter(rows))

    def test_what_it_reads_is_what_it_says(self) -> None:
        """A fuser that says it reads no evidence does not; one that does copes without any."""
        task = self.tasks[0]
        reads = self.part().reads
        honest = 'say reads: ClassVar[...] = "evidence", or do not read it'
        without = {**self.arguments(task), "evidence": {}}
        if reads == "evidence":
            with where("without any evidence, as with --explainer none"), may_refuse():
                self.sane(self.answer(self.begun(task), without), ROWS, task)
            return
        with where(f'reads = "{reads}", so that no evidence comes', honest):
            alone = self.answer(self.begun(task), without)
        given = self.answer(self.begun(task), self.arguments(task))
        said = f'reads = "{reads}", yet the labels change with the evidence'
        self._agree(alone, given, said, honest)

    def test_a_missing_head_is_refused_by_name(self) -> None:
        """A prediction without classes, masks or scales is answered or refused in one line."""
        task = self.tasks[0]
        for missing in ({"class_logits": None}, {"mask_logits": None}, {"scales": ()}):
            arguments = self.arguments(task)
            less = replace(arguments["prediction"], **missing)
            told = "begin with prediction.need_masks(self.origin), or need_classes: they refuse"
            with where(f"of a model without {next(iter(missing))}", told), may_refuse():
                answer = self.answer(self.begun(task), {**arguments, "prediction": less})
                self.sane(answer, ROWS, task)

    def test_the_student_learns_from_its_labels(self) -> None:
        """`loss` gives finite terms; gradients reach the student and nothing that is a target."""
        for task in self.tasks:
            if (labels := self._labels(task)) is None:
                return
            part, pseudo = labels
            self._taught(part, pseudo, make_prediction(ROWS, task, seed=2))

    def test_a_student_that_is_sure_and_wrong_learns(self) -> None:
        """Logits so large that their probabilities are 0 or 1 give finite terms and gradients."""
        for sign in (1, -1):
            task = self.tasks[0]
            if (labels := self._labels(task)) is None:
                return
            student = make_prediction(ROWS, task, seed=2)
            sure = replace(
                student,
                class_logits=sign * SURE * student.need_classes("").sign(),
                mask_logits=sign * SURE * student.need_masks("").sign(),
            )
            with where(f"of a student with logits of {SURE:g} and -{SURE:g}"):
                self._taught(*labels, sure)

    def test_ignored_pixels_teach_nothing(self) -> None:
        """Where a weight is 0 the target does not matter to the student."""
        task = self.tasks[0]
        if (labels := self._labels(task)) is None:
            return
        one, other = (
            self._taught(labels[0], ignored, make_prediction(ROWS, task, seed=2))
            for ignored in (_ignored(labels[1]), _ignored(_contrary(labels[1])))
        )
        require(
            same(one, other, 1e-6),
            "pixels or rows of weight 0 teach the student",
            "multiply each pixel's loss by mask_weight, and each row's by label_weight",
        )

    def _labels(self, task: Task) -> tuple[Any, PseudoLabels] | None:
        """A fuser and labels that it made; None where it makes none that can be learned."""
        part = self.begun(task)
        if part.reads == "nothing":
            return None
        pseudo = self.answer(part, self.arguments(task))
        return (part, pseudo) if self._is_sane(pseudo, task) else None

    def _taught(self, part: Any, pseudo: PseudoLabels, answer: Prediction) -> dict[str, Tensor]:
        """The terms of a student's answer, and the gradients that they send to it."""
        student, leaves = learning(answer)
        labelled, others = learning(make_prediction(ROWS, part.task, seed=3))
        seeded()
        with restored(), sound("loss", part), unedited("loss", student=student, pseudo=pseudo):
            terms = rules.terms("loss", part.loss(student, pseudo, labelled), ROWS)
        return tensors(terms) | gradients(total(terms), [*leaves, *others], "loss")

    def test_a_survey_leaves_the_model_alone(self) -> None:
        """`survey` reads all rows once, under any seed alike, and changes nothing but its state."""
        task = self.tasks[0]
        part = super().begun(task)
        if type(part).survey is Fuser.survey:
            return
        unknown = "answer before it too: with labels of weight 0, or as if the pool were empty"
        with where("before its first survey, as in the rehearsal of a run", unknown):
            self.sane(self.answer(part, self.arguments(task)), ROWS, task)
        model, rows = make_model(task), _pool(task)
        with untouched("survey", model), unedited("survey", rows=rows):
            self._survey(part, model, rows)

    def test_it_is_calibrated_by_what_is_known(self) -> None:
        """`calibrate` learns of rows with masks alone, edits nothing, and `fuse` copes without."""
        task = self.tasks[0]
        if type(self.part()).calibrate is Fuser.calibrate:
            return
        part = super().begun(task)
        unknown = "answer before it too: a run may hold nothing out (audit.holdout = 0)"
        with where("before it is calibrated", unknown):
            self.sane(self.answer(part, self.arguments(task)), ROWS, task)
        answers = []
        for seed in (0, 1):
            part, held = super().begun(task), _held(task, hidden=seed)
            with unedited("calibrate", held=held):
                self._calibrate(part, held)
            answers.append(self.answer(part, self.arguments(task)))
        said = "the mask of a row whose mask is not known changes what was learned"
        self._agree(answers[0], answers[1], said, "leave rows out where batch.has_mask is false")
        with where("of rows without any known mask", "learn nothing of them"):
            part = super().begun(task)
            self._calibrate(part, _held(task, known=False))
            self.sane(self.answer(part, self.arguments(task)), ROWS, task)

    def _calibrate(self, part: Any, held: Sequence[Held]) -> None:
        seeded()
        with restored(), torch.no_grad(), sound("calibrate", part):
            part.calibrate(iter(held))


def _held(task: Task, *, hidden: int = 0, known: bool = True) -> list[Held]:
    """Two batches of four rows, of which the last has a mask that nobody knows."""
    found: list[Held] = []
    for seed in (0, 1):
        batch = make_batch(4, task, seed)
        mask = torch.cat([batch.mask[:3], make_batch(1, task, 10 + hidden).mask])
        has_mask = torch.tensor([known, known, known, False])
        batch = replace(batch, mask=mask, has_mask=has_mask)
        found.append((make_prediction(4, task, seed), make_evidence(4, task, seed), batch))
    return found


def _pool(task: Task) -> list[Batch]:
    return [make_batch(4, task, seed) for seed in (0, 1)]


def _flat(arguments: Arguments, logit: float, value: float) -> Arguments:
    def full(tensor: Tensor | None, fill: float) -> Tensor | None:
        return None if tensor is None else torch.full_like(tensor, fill)

    given: Prediction = arguments["prediction"]
    scales = tuple(replace(s, features=torch.zeros_like(s.features)) for s in given.scales)
    return {
        "prediction": replace(
            given,
            class_logits=_sure(given.class_logits, logit),
            mask_logits=full(given.mask_logits, logit),
            scales=scales,
        ),
        "evidence": {
            key: Evidence(map=torch.full_like(e.map, value), family=e.family)
            for key, e in arguments["evidence"].items()
        },
    }


def _sure(logits: Tensor | None, logit: float) -> Tensor | None:
    """Zeros, but for the last class."""
    if logits is None:
        return None
    return F.pad(torch.zeros_like(logits[:, 1:]), (0, 1), value=logit)


def _ignored(pseudo: PseudoLabels) -> PseudoLabels:
    """The same targets, none of which counts."""
    mask_weight, label_weight = pseudo.mask_weight, pseudo.label_weight
    return replace(
        pseudo,
        mask_weight=None if mask_weight is None else torch.zeros_like(mask_weight),
        label_weight=None if label_weight is None else torch.zeros_like(label_weight),
    )


def _contrary(pseudo: PseudoLabels) -> PseudoLabels:
    """Other targets of the same shapes."""
    return replace(
        pseudo,
        mask=None if pseudo.mask is None else 1 - pseudo.mask,
        label=None if pseudo.label is None else pseudo.label.roll(1, dims=1),
    )
