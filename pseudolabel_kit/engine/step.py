"""The train step: one straight line.

weak view ─► model ─► Prediction ─┬─► explainers ─► evidence ─┐
                                  └───────────────────────────┴─► fuser ─► PseudoLabels
strong view ─► model ─► Prediction ─────────────────────────────────────► consistency loss
labelled view ─► model ─► Prediction ─► supervised losses (+ what an explainer trains)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from pseudolabel_kit.config import AugmentConfig
from pseudolabel_kit.data.augment import weak_view
from pseudolabel_kit.engine.label import pseudo_label
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.interfaces import Batch, LossTerm, Prediction, PseudoLabels, View
from pseudolabel_kit.losses import classification, segmentation

CONSISTENCY = "consistency"


class Step:
    """What one step is given, and what it leaves behind for the log.

    A plain class: wrappers for precision and parallel training pass it through untouched.

    Attributes:
        labelled: (Bl, ...) rows with labels, as read.
        unlabelled: (Bu, ...) rows as read, or None where this step needs none.
        weights: the weight of each loss term at this step; a term at 0 is not computed.
        terms: the value of every loss term, unweighted, filled in by the step.
        pseudo: the pseudo labels of the unlabelled rows, filled in where there are any.
    """

    def __init__(
        self, labelled: Batch, unlabelled: Batch | None, weights: Mapping[str, float]
    ) -> None:
        self.labelled = labelled
        self.unlabelled = unlabelled
        self.weights = weights
        self.terms: dict[str, Tensor] = {}
        self.pseudo: PseudoLabels | None = None


class Learner(nn.Module):
    """The student and everything that learns with it, as one module with one forward pass.

    Args:
        model: the student.
        method: the parts, bound to the task.
        states: what the parts keep; trained and saved with the student.
        augment: the weak view.
        debias: whether w is undone in the teacher's logits.
        mean_over_processes: averages a count over all processes.
    """

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        states: nn.ModuleDict,
        *,
        augment: AugmentConfig,
        debias: bool,
        mean_over_processes: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.model = model
        self.states = states
        self.method = method
        self.augment = augment
        self.debias = debias
        self.mean_over_processes = mean_over_processes
        self.teacher: Callable[[], nn.Module] = lambda: self.model

    def forward(self, step: Step) -> Tensor:
        """The step's loss, a scalar."""
        labelled = weak_view(step.labelled, self.augment)
        shown, views = [labelled], []
        if step.unlabelled is not None:
            weak = weak_view(step.unlabelled, self.augment)
            views = self.strong_views(weak, labelled, step) if step.weights[CONSISTENCY] else []
            shown += [view.batch for view in views] or [weak]
        batch = concatenate(shown)
        student = self.model(batch.image)

        terms = self.supervised(student, batch, step.weights)
        first = len(labelled.image)
        for view in views:
            rows = slice(first, first + len(view.batch.image))
            add(terms, self.method.fuser.loss(student.rows(rows), view.pseudo))
            first = rows.stop
        return self.total(terms, step)

    def strong_views(self, weak: Batch, labelled: Batch, step: Step) -> list[View]:
        """Label the weak view, then perturb it: what the student must answer alike."""
        found = pseudo_label(self.teacher(), self.method, weak.image, debias=self.debias)
        step.pseudo = found.pseudo
        views = [View(batch=weak, pseudo=found.pseudo)]
        for perturbation in self.method.perturbations:
            views = [new for view in views for new in perturbation.perturb(view, labelled)]
        return views

    def supervised(
        self, student: Prediction, batch: Batch, weights: Mapping[str, float]
    ) -> dict[str, LossTerm]:
        """Eq. 1 on rows with a label, eq. 11 on rows with a mask, and what explainers train."""
        w = self.method.backbone.task.background_weight
        terms = {
            "classification": classification(student.class_logits, batch.label, batch.has_label),
            "segmentation": segmentation(student.mask_logits, batch.mask, batch.has_mask, w),
        }
        for reference, explainer in self.method.explainers.items():
            term = explainer.loss(student, batch) if weights[reference] else None
            if term is not None:
                terms[reference] = term
        return terms

    def total(self, terms: Mapping[str, LossTerm], step: Step) -> Tensor:
        """The weighted sum of the terms' means, each over the rows of every process."""
        counts = torch.stack([term.count.sum() for term in terms.values()])
        counts = self.mean_over_processes(counts).clamp(min=1e-12)
        values = [
            term.total.sum() / count for term, count in zip(terms.values(), counts, strict=True)
        ]
        step.terms = dict(zip(terms, (value.detach() for value in values), strict=True))
        weights = [step.weights[_group(name)] for name in terms]
        return torch.stack([w * v for w, v in zip(weights, values, strict=True)]).sum()


def concatenate(batches: Sequence[Batch]) -> Batch:
    """The rows of several batches, one after the other, so that the model runs once."""
    if len(batches) == 1:
        return batches[0]
    image, label, mask, has_label, has_mask = (
        torch.cat([getattr(batch, name) for batch in batches])
        for name in ("image", "label", "mask", "has_label", "has_mask")
    )
    regions = [batch.region for batch in batches if batch.region is not None]
    return Batch(
        image=image,
        label=label,
        mask=mask,
        has_label=has_label,
        has_mask=has_mask,
        region=torch.cat(regions) if len(regions) == len(batches) else None,
    )


def add(terms: dict[str, LossTerm], more: Mapping[str, LossTerm]) -> None:
    """Add a view's consistency terms, as "consistency.mask"; several views share one mean."""
    for kind, term in more.items():
        key = f"{CONSISTENCY}.{kind}"
        if key in terms:
            term = replace(
                term,
                total=torch.cat([terms[key].total, term.total]),
                count=torch.cat([terms[key].count, term.count]),
            )
        terms[key] = term


def _group(term: str) -> str:
    return CONSISTENCY if term.startswith(f"{CONSISTENCY}.") else term
