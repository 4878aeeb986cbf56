"""What an explainer owes."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from math import isfinite
from re import fullmatch
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor, nn

from pseudolabel_kit.interfaces import Batch, Family, Prediction, Ramp, Task
from pseudolabel_kit.isolate import isolated
from pseudolabel_kit.plugin.component import Kind
from pseudolabel_kit.plugin.moment import PATTERN, WRITTEN
from pseudolabel_kit.testing import rules
from pseudolabel_kit.testing.answers import ROWS, among, same
from pseudolabel_kit.testing.calls import Arguments, Call
from pseudolabel_kit.testing.fault import may_refuse, require, sound, where
from pseudolabel_kit.testing.learning import garbled, gradients, learning, partly_known
from pseudolabel_kit.testing.rows import RowConformance
from pseudolabel_kit.testing.samples import detached, make_batch, make_model
from pseudolabel_kit.testing.settings import restored, seeded
from pseudolabel_kit.testing.witness import tensors, unedited, untouched


class ExplainerConformance(RowConformance):
    """`explain`, `loss` and `diagnose`: maps in range, and a model that is left as it was.

    >>> class TestSaliency(ExplainerConformance):
    ...     reference = "saliency"
    >>> TestSaliency().test_the_model_is_left_as_it_was()
    """

    kind: ClassVar[Kind] = "explainer"
    call: ClassVar[str] = "explain"
    tiny: ClassVar[tuple[tuple[int, int], ...]] = ((8, 8), (5, 7), (1, 1))

    def model(self, task: Task) -> nn.Module:
        """The network that is explained; override it for explainers that need one of theirs."""
        return make_model(task)

    def arguments(self, task: Task, rows: int = ROWS, seed: int = 0) -> Arguments:
        """A network, noise images, and its answer to them."""
        return self._about(self.model(task), make_batch(rows, task, seed).image)

    def _about(self, model: nn.Module, images: Tensor) -> Arguments:
        """A network as explainers are handed it, these images, and its answer to them."""
        model.eval().requires_grad_(False)
        with torch.no_grad(), sound("the model", self.part()):
            prediction = detached(model(images))
        return {"model": model, "images": images, "prediction": prediction}

    def ask(self, call: Call, arguments: Arguments) -> Any:
        """The maps of an isolated model."""
        with isolated(arguments["model"]):
            return super().ask(call, arguments)

    def priced(self, task: Task, network: nn.Module, images: Tensor) -> Arguments:
        """The rival is explained."""
        return self._about(network, images)

    def flat(self, task: Task) -> list[Arguments]:
        """Black, grey and white images."""
        black = torch.zeros(2, task.channels, *task.size)
        return [self._about(self.model(task), black + value) for value in (0.0, 0.5, 1.0)]

    def among(self, own: Arguments, mates: Arguments, loudness: float) -> Arguments:
        """The first image of `own`, faint, with the others of `mates`, and the answer to them."""
        return self._about(deepcopy(own["model"]), among(own["images"], mates["images"], loudness))

    def halved(self, arguments: Arguments, dtype: torch.dtype) -> Arguments:
        """The model's answer under autocast; images stay float32."""
        with torch.autocast("cpu", dtype=dtype):
            return self._about(arguments["model"], arguments["images"])

    def sane(self, answer: Any, rows: int, task: Task) -> None:
        """Evidence by the contract."""
        rules.evidence(answer, rows, task)

    def test_its_family_is_known(self) -> None:
        """`family` is one that fusers weigh."""
        family, known = self.part().family, get_args(Family)
        require(
            family in known,
            f"family is {family!r}",
            f"say family: ClassVar[Family] = one of {', '.join(known)}",
        )

    def test_the_model_is_left_as_it_was(self) -> None:
        """Weights, buffers, modes, gradients, requires_grad and hooks stay, isolated or not."""
        task = self.tasks[0]
        for call in ("explain", "diagnose"):
            part, arguments = self.begun(task), self.arguments(task)
            seeded()
            with untouched(call, arguments["model"]), restored(), sound(call, part):
                getattr(part, call)(**arguments)

    def test_a_missing_head_is_refused_by_name(self) -> None:
        """A model without classes, masks or scales is explained or refused in one line."""
        task = self.tasks[0]
        for missing in ({"class_logits": None}, {"mask_logits": None}, {"scales": ()}):
            arguments = self.arguments(task)
            less = replace(arguments["prediction"], **missing)
            told = "begin with prediction.need_classes(self.origin), or need_masks: they refuse"
            with where(f"of a model without {next(iter(missing))}", told), may_refuse():
                answer = self.answer(self.begun(task), {**arguments, "prediction": less})
                self.sane(answer, ROWS, task)

    def test_its_figures_are_finite(self) -> None:
        """`diagnose` gives finite figures by name."""
        task = self.tasks[0]
        part, arguments = self.begun(task), self.arguments(task)
        seeded()
        with restored(), isolated(arguments["model"]), sound("diagnose", part):
            figures = part.diagnose(**arguments)
        sane = isinstance(figures, Mapping) and all(map(_is_figure, figures.values()))
        require(sane, f"diagnose gave {figures!r:.80}", "return finite floats by name")

    def test_its_ramp_can_be_read(self) -> None:
        """`loss_ramp` begins and grows at moments that a run can tell."""
        ramp = self.begun(self.tasks[0]).loss_ramp()
        require(isinstance(ramp, Ramp), f"loss_ramp gave {ramp!r}", "return a Ramp")
        require(
            _is_figure(ramp.weight) and ramp.weight >= 0,
            f"loss_ramp has weight {ramp.weight!r}",
            "give a weight of 0 or more",
        )
        for moment in (ramp.start, ramp.length):
            require(
                bool(fullmatch(PATTERN, str(moment))),
                f"loss_ramp says {moment!r}",
                f"write moments as {WRITTEN}",
            )

    def test_its_loss_teaches_rows_with_a_truth_alone(self) -> None:
        """`loss` is finite, edits nothing, and does not read labels and masks that are missing."""
        for task in self.tasks:
            batch = partly_known(make_batch(ROWS, task))
            one, other = (self._loss(task, each) for each in (batch, garbled(batch)))
            require(
                same(one, other, 1e-6),
                "loss reads the label or mask of rows that have none",
                "multiply by batch.has_label or batch.has_mask, in total and in count",
            )

    def _loss(self, task: Task, batch: Batch) -> dict[str, Tensor]:
        """The term and the gradients that it sends; nothing where there is no term."""
        part = self.begun(task)
        prediction: Prediction
        prediction, leaves = learning(self._about(self.model(task), batch.image)["prediction"])
        seeded()
        with restored(), unedited("loss", prediction=prediction, batch=batch), sound("loss", part):
            term = part.loss(prediction, batch)
        if term is None:
            return {}
        total = rules.term("loss", term, ROWS).total.sum()
        taught = [*leaves, *(part.state.parameters() if part.state is not None else ())]
        return tensors(term) | gradients(total, taught, "loss")


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and isfinite(value)
