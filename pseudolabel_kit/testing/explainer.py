"""What an explainer owes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from pseudolabel_kit.testing.calls import ROWS, Arguments, RowConformance, among
from pseudolabel_kit.testing.fault import may_refuse, require, sound
from pseudolabel_kit.testing.learning import garbled, gradients, learning
from pseudolabel_kit.testing.samples import detached, make_batch, make_model
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
        return self.about(self.model(task), make_batch(rows, task, seed).image)

    def about(self, model: nn.Module, images: Tensor) -> Arguments:
        """Arguments for these images."""
        with torch.no_grad():
            prediction = detached(model(images))
        return {"model": model, "images": images, "prediction": prediction}

    def answer(self, part: Any, arguments: Arguments) -> Any:
        """The maps of an isolated model."""
        with isolated(arguments["model"]):
            return super().answer(part, arguments)

    def work(self, part: Any, arguments: Arguments) -> Callable[[], Any]:
        """The call, on a model in eval mode whose parameters have no gradients."""
        arguments["model"].eval().requires_grad_(False)
        return super().work(part, arguments)

    def priced(self, task: Task, network: nn.Module, images: Tensor) -> Arguments:
        """The rival is explained."""
        return self.about(network, images)

    def flat(self, task: Task) -> list[Arguments]:
        """Black, grey and white images."""
        black = torch.zeros(2, task.channels, *task.size)
        return [self.about(self.model(task), black + value) for value in (0.0, 0.5, 1.0)]

    def among(self, own: Arguments, mates: Arguments, loudness: float) -> Arguments:
        """The first image of `own`, faint, with the others of `mates`, and the answer to them."""
        images = among(own["images"], mates["images"], loudness)
        return self.about(own["model"], images)

    def halved(self, arguments: Arguments, dtype: torch.dtype) -> Arguments:
        """The model's answer under autocast; images stay float32."""
        with torch.autocast("cpu", dtype=dtype):
            return self.about(arguments["model"], arguments["images"])

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
        part, arguments = self.begun(task), self.arguments(task)
        with untouched("explain", arguments["model"]), sound("explain"):
            part.explain(**arguments)
        with untouched("diagnose", arguments["model"]), sound("diagnose"):
            part.diagnose(**arguments)

    def test_a_missing_head_is_refused_by_name(self) -> None:
        """A model without classes, masks or scales is explained or refused in one line."""
        task = self.tasks[0]
        for missing in ({"class_logits": None}, {"mask_logits": None}, {"scales": ()}):
            arguments = self.arguments(task)
            less = replace(arguments["prediction"], **missing)
            with may_refuse():
                answer = self.answer(self.begun(task), {**arguments, "prediction": less})
                self.sane(answer, ROWS, task)

    def test_its_figures_are_finite(self) -> None:
        """`diagnose` gives finite figures by name."""
        task = self.tasks[0]
        arguments = self.arguments(task)
        with isolated(arguments["model"]), sound("diagnose"):
            figures = self.begun(task).diagnose(**arguments)
        sane = isinstance(figures, Mapping) and all(isfinite(v) for v in figures.values())
        require(sane, f"diagnose gave {figures!r}", "return a mapping of finite floats by name")

    def test_its_ramp_can_be_read(self) -> None:
        """`loss_ramp` begins and grows at moments that a run can tell."""
        ramp = self.begun(self.tasks[0]).loss_ramp()
        require(isinstance(ramp, Ramp), f"loss_ramp gave {ramp!r}", "return a Ramp")
        for moment in (ramp.start, ramp.length):
            require(
                bool(fullmatch(PATTERN, moment)),
                f"loss_ramp says {moment!r}",
                f"write moments as {WRITTEN}",
            )

    def test_its_loss_teaches_rows_with_a_truth_alone(self) -> None:
        """`loss` is finite, edits nothing, and does not read labels and masks that are missing."""
        for task in self.tasks:
            batch = make_batch(ROWS, task)
            one, other = (self._loss(task, each) for each in (batch, garbled(batch)))
            if one is None or other is None:
                return
            require(
                all(torch.allclose(one[name], other[name], atol=1e-6) for name in one),
                "loss reads the label or mask of rows that have none",
                "multiply by batch.has_label or batch.has_mask, in total and in count",
            )

    def _loss(self, task: Task, batch: Batch) -> dict[str, Tensor] | None:
        """The term and the gradients that it sends to the prediction; None where there is none."""
        part = self.begun(task)
        prediction: Prediction
        prediction, leaves = learning(self.about(self.model(task), batch.image)["prediction"])
        with sound("loss"), unedited("loss", prediction=prediction, batch=batch):
            torch.manual_seed(0)
            term = part.loss(prediction, batch)
        if term is None:
            return None
        rules.term("loss", term)
        taught = [*leaves, *(part.state.parameters() if part.state is not None else ())]
        return tensors(term) | gradients(term.total.sum(), taught, "loss")
