"""The train step: one straight line.

weak view ─► model ─► Prediction ─┬─► explainers ─► evidence ─┐
                                  └───────────────────────────┴─► fuser ─► PseudoLabels
strong view ─► model ─► Prediction ─────────────────────────────────────► consistency loss
labelled view ─► model ─► Prediction ─► supervised losses (+ what an explainer trains)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from inspect import signature

import torch
from torch import Tensor, nn

from pseudolabel_kit.config import AugmentConfig
from pseudolabel_kit.data.augment import weak_view
from pseudolabel_kit.engine import guard
from pseudolabel_kit.engine.finite import taught_by
from pseudolabel_kit.engine.guard import Failed
from pseudolabel_kit.engine.label import pseudo_label
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import Backbone, Batch, LossTerm, Prediction, PseudoLabels, View

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
        failed: what became of explainers, filled in where failing does not stop the run.
    """

    def __init__(
        self, labelled: Batch, unlabelled: Batch | None, weights: Mapping[str, float]
    ) -> None:
        self.labelled = labelled
        self.unlabelled = unlabelled
        self.weights = weights
        self.terms: dict[str, Tensor] = {}
        self.pseudo: PseudoLabels | None = None
        self.failed: Failed = {}

    @property
    def rows(self) -> dict[str, int]:
        """How many rows of each stream the step reads, in this process."""
        unlabelled = len(self.unlabelled.image) if self.unlabelled else 0
        return {"labelled": len(self.labelled.image), "unlabelled": unlabelled}


class Learner(nn.Module):
    """The student and everything that learns with it, as one module with one forward pass.

    Args:
        model: the student.
        twin: a second student; each then learns from the other's labels. Or None.
        method: the parts, bound to the task.
        states: what the parts keep; trained and saved with the student.
        augment: the weak view.
        debias: whether w is undone in the teacher's logits.
        isolates: whether explainers that fail are left out of a step.
        mean_over_processes: averages a count over all processes.
    """

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        states: nn.ModuleDict,
        *,
        twin: nn.Module | None = None,
        augment: AugmentConfig,
        debias: bool,
        isolates: bool = False,
        mean_over_processes: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.model = model
        self.twin = twin
        self.states = states
        self.method = method
        self.augment = augment
        self.debias = debias
        self.isolates = isolates
        self.mean_over_processes = mean_over_processes
        self.teacher: Callable[[], nn.Module] = lambda: self.model

    def forward(self, step: Step) -> Tensor:
        """The step's loss, a scalar."""
        return self.total(self.losses(step), step)

    def losses(self, step: Step) -> dict[str, LossTerm]:
        """Every term of the step's loss, by name."""
        labelled = weak_view(step.labelled, self.augment)
        weak = step.unlabelled and weak_view(step.unlabelled, self.augment)
        pairs = self.pairs()
        views = [self.strong_views(teacher, weak, labelled, step) for _, teacher in pairs]
        terms: dict[str, LossTerm] = {}
        for (student, _), shown in zip(pairs, views, strict=True):
            add(terms, self.learn(student, labelled, shown, step.weights))
        return terms

    def pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Who learns, and from whose labels."""
        if self.twin is None:
            return [(self.model, self.teacher())]
        return [(self.model, self.twin), (self.twin, self.model)]

    def strong_views(
        self, teacher: nn.Module, weak: Batch | None, labelled: Batch, step: Step
    ) -> list[View]:
        """Label the weak view, then perturb it: what the student must answer alike."""
        if weak is None:
            return []
        if not step.weights[CONSISTENCY]:
            return [View(batch=weak, pseudo=PseudoLabels())]
        failed = step.failed if self.isolates else None
        found = pseudo_label(teacher, self.method, weak.image, debias=self.debias, failed=failed)
        pseudo, step.pseudo = found.pseudo, step.pseudo or found.pseudo
        views = [View(batch=weak, pseudo=pseudo)]
        for perturbation in self.method.perturbations:
            views = [new for view in views for new in guard.perturb(perturbation, view, labelled)]
        return views

    def learn(
        self,
        student: nn.Module,
        labelled: Batch,
        views: Sequence[View],
        weights: Mapping[str, float],
    ) -> dict[str, LossTerm]:
        """One student's terms: one forward pass over all its rows, then what each row teaches."""
        batch = concatenate([labelled, *taught_once(view.batch for view in views)])
        first = len(labelled.image)
        backbone = self.method.backbone
        changes = feature_changes(backbone, student, first, views)
        answer = guard.forward(backbone, student, batch.image, finite=False, **changes)
        with taught_by(backbone, student, answer, views):
            terms = self.supervised(answer, batch, weights)
            if weights[CONSISTENCY]:
                add(terms, self.unsupervised(answer, first, views))
        return terms

    def supervised(
        self, answer: Prediction, batch: Batch, weights: Mapping[str, float]
    ) -> dict[str, LossTerm]:
        """What rows with a label or a mask teach the backbone, and what explainers train."""
        terms = guard.supervised(self.method.backbone, answer, batch)
        for reference, explainer in self.method.explainers.items():
            if weights[reference]:
                terms |= guard.refined(reference, explainer, answer, batch)
        return terms

    def unsupervised(
        self, answer: Prediction, first: int, views: Iterable[View]
    ) -> dict[str, LossTerm]:
        """What the views' rows, which begin at `first`, teach by their pseudo labels."""
        terms: dict[str, LossTerm] = {}
        sure = answer.rows(slice(0, first))
        for view in views:
            count = len(view.batch.image)
            rows = slice(first, first + count)
            shown = answer.rows(rows)
            found = guard.consistent(self.method.fuser, shown, view.pseudo, sure, count)
            add(terms, {f"{CONSISTENCY}.{kind}": term for kind, term in found.items()})
            first = rows.stop
        return terms

    def total(self, terms: Mapping[str, LossTerm], step: Step) -> Tensor:
        """The weighted sum of the terms' means, each over the rows of every process."""
        counts = torch.stack([term.count.sum() for term in terms.values()])
        counts = self.mean_over_processes(counts).clamp(min=1e-12)
        values = [
            term.total.sum() / count for term, count in zip(terms.values(), counts, strict=True)
        ]
        step.terms = dict(zip(terms, (value.detach() for value in values), strict=True))
        weights = [weight_of(name, step.weights) for name in terms]
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


def taught_once(views: Iterable[Batch]) -> Iterator[Batch]:
    """The views' rows; what is known of them (`data.weak_labels`) teaches by the first alone."""
    for number, batch in enumerate(views):
        nothing = torch.zeros_like(batch.has_label)
        yield replace(batch, has_label=nothing, has_mask=nothing) if number else batch


def feature_changes(
    backbone: Backbone, student: nn.Module, first: int, views: Sequence[View]
) -> dict[str, Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]]:
    """What the student is called with, so that a view's `on_features` reaches its rows alone.

    Args:
        first: how many rows stand before those of the first view.

    Raises:
        PluginError: a view wants to change feature maps that this student does not show.
    """
    if all(view.on_features is None for view in views):
        return {}
    if "on_features" not in signature(student.forward).parameters:
        raise PluginError(
            f"{backbone.origin}: this backbone does not let its feature maps be changed: "
            "expected a forward(images, on_features=None), as vgg-multiscale has"
        )

    def on_features(features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        parts, start = [tuple(f[:first] for f in features)], first
        for view in views:
            rows = slice(start, start + len(view.batch.image))
            mine = tuple(f[rows] for f in features)
            parts.append(view.on_features(mine) if view.on_features else mine)
            start = rows.stop
        return tuple(torch.cat(level) for level in zip(*parts, strict=True))

    return {"on_features": on_features}


def add(terms: dict[str, LossTerm], more: Mapping[str, LossTerm]) -> None:
    """Add terms; those of one name, of several views or of two students, share one mean."""
    for name, term in more.items():
        if name in terms:
            term = replace(
                term,
                total=torch.cat([terms[name].total, term.total]),
                count=torch.cat([terms[name].count, term.count]),
            )
        terms[name] = term


def weight_of(term: str, weights: Mapping[str, float]) -> float:
    """The weight of a term: its own, or that of what stands before the dot.

    >>> weight_of("consistency.mask", {"consistency": 2.0, "caam:alpha=0.5": 1.0})
    2.0
    """
    return weights[term] if term in weights else weights[term.partition(".")[0]]
