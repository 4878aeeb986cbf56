"""Every call of a part: who is to blame if it fails, and whether its answer keeps the contract.

The rest of the engine calls parts through these functions alone. Each raises `FaultError` in
one line where the part fails.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeAlias, get_args

import torch
from torch import Tensor, nn

from pseudolabel_kit.engine import contract
from pseudolabel_kit.engine.finite import Change, require_answer, unless_diverged
from pseudolabel_kit.engine.undo import random_state, undone
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import (
    Backbone,
    Batch,
    Evidence,
    Explainer,
    Family,
    Fuser,
    LossTerm,
    Part,
    Perturbation,
    Prediction,
    PseudoLabels,
    Ramp,
    Task,
    View,
)
from pseudolabel_kit.isolate import isolated
from pseudolabel_kit.plugin.blame import FaultError, RefusedError, blamed
from pseudolabel_kit.plugin.moment import PATTERN, WRITTEN

TRACE = "it cannot be left out, as weights or a large memory had changed before it failed"
SUPERVISED = ("classification", "segmentation")

Failed: TypeAlias = dict[str, PluginError | None]
"""What became of each explainer that was asked, by reference; None = its evidence is there."""


@contextmanager
def called(part: Part, method: str) -> Iterator[None]:
    """Around a call of a part: it is blamed by name, and cannot leave gradients switched off."""
    with torch.set_grad_enabled(torch.is_grad_enabled()), blamed(part, method):
        yield


def begin(part: Part, task: Task) -> None:
    """Bind a part to a run."""
    with called(part, "make_state"):
        part.begin(task)
        if not isinstance(part.state, nn.Module | None):
            raise RefusedError(f"a {type(part.state).__name__}: expected a torch module or None")


# ── backbones ───────────────────────────────────────────────────────────────────────


def build(backbone: Backbone, task: Task) -> nn.Module:
    """A new network."""
    with called(backbone, "build"):
        model: object = backbone.build(task)
        if not isinstance(model, nn.Module):
            raise RefusedError(f"a {type(model).__name__}: expected a torch module")
        return model


def pretrain(backbone: Backbone, model: nn.Module) -> None:
    """Fill a network with pretrained weights."""
    with called(backbone, "pretrain"):
        backbone.pretrain(model)


def forward(
    backbone: Backbone, model: nn.Module, images: Tensor, *, finite: bool = True, **changes: Any
) -> Prediction:
    """The answer of a network that the backbone built to images (B,C,H,W).

    Args:
        finite: whether NaN and infinite answers are refused.
        changes: `on_features`, for a model that takes it.

    Raises:
        DivergedError: the network's weights are not finite.
    """
    with unless_diverged(model):
        with called(backbone, "forward"):
            answer = contract.prediction(model(images, **changes), images, backbone.task)
        if finite:
            require_answer(backbone, model, answer)
        return answer


def supervised(backbone: Backbone, answer: Prediction, batch: Batch) -> dict[str, LossTerm]:
    """The backbone's loss terms, each of a name that has a weight."""
    with called(backbone, "loss"):
        terms = contract.loss_terms(backbone.loss(answer, batch), len(batch.image))
        if strange := [name for name in terms if name.partition(".")[0] not in SUPERVISED]:
            raise RefusedError(
                f"a term '{strange[0]}', which has no weight: expected a name that begins with "
                f"{' or '.join(SUPERVISED)}"
            )
        return terms


# ── explainers ──────────────────────────────────────────────────────────────────────


def explain(
    explainer: Explainer, model: nn.Module, images: Tensor, prediction: Prediction
) -> Evidence:
    """An explainer's evidence on an isolated model."""
    masks = prediction.mask_logits
    with called(explainer, "explain"):
        found = explainer.explain(model, images, prediction)  # type: ignore[arg-type]
        map_ = contract.evidence(found, images, 1 if masks is None else masks.shape[1])
        if explainer.family not in get_args(Family):
            expected = ", ".join(get_args(Family))
            raise RefusedError(f"the family {explainer.family!r}: expected one of {expected}")
        return Evidence(map=map_, family=explainer.family)


def diagnose(
    explainer: Explainer, model: nn.Module, images: Tensor, prediction: Prediction
) -> dict[str, float]:
    """What an explainer says of its own maps."""
    with called(explainer, "diagnose"):
        found = explainer.diagnose(model, images, prediction)  # type: ignore[arg-type]
        return {str(name): float(value) for name, value in found.items()}


def ramp(explainer: Explainer) -> Ramp:
    """When the term of an explainer's loss joins."""
    with called(explainer, "loss_ramp"):
        found: object = explainer.loss_ramp()
        if not isinstance(found, Ramp):
            raise RefusedError(f"a {type(found).__name__}: expected a Ramp")
        for moment in (found.start, found.length):
            if not re.fullmatch(PATTERN, moment):
                raise RefusedError(f"the moment {moment!r}: expected one like {WRITTEN}")
        return found


def refined(
    reference: str, explainer: Explainer, answer: Prediction, batch: Batch
) -> dict[str, LossTerm]:
    """The term that refines an explainer's map, by its reference; nothing where it has none."""
    with called(explainer, "loss"):
        term = explainer.loss(answer, batch)
        found = {} if term is None else {reference: term}
        return contract.loss_terms(found, len(batch.image))


@contextmanager
def spared(
    failed: Failed | None, reference: str, explainer: Explainer, model: nn.Module
) -> Iterator[None]:
    """Where `failed` is given, a failure is noted there instead, and leaves no trace.

    What the explainer drew at random, remembered or did to the model is undone. Where it cannot
    be (see `Undo`), as of values of weights, the failure is not spared.

    Raises:
        PluginError: as the explainer failed, where that left a trace or `failed` is None.
    """
    if failed is None:
        yield
        return
    put_back = random_state(model)
    try:
        with isolated(model), undone(explainer.state or nn.Module(), model) as undo:
            yield
    except PluginError as error:
        if not undo.whole:
            raise FaultError(f"{error}; {TRACE}") from error
        put_back()
        kind = FaultError if isinstance(error, FaultError) else PluginError
        failed[reference] = kind(str(error))  # the traceback of `error` holds on to tensors
    else:
        failed.setdefault(reference, None)


def warn_of(failed: Failed) -> None:
    """Warn of the explainers that were spared, outside a run's log."""
    for error in filter(None, failed.values()):
        warnings.warn(f"{error}; its evidence is left out", stacklevel=3)


# ── fusers and perturbations ────────────────────────────────────────────────────────


def fuse(
    fuser: Fuser, prediction: Prediction, evidence: Mapping[str, Evidence], images: Tensor
) -> PseudoLabels:
    """Pseudo labels for images (B,C,H,W)."""
    with called(fuser, "fuse"), torch.no_grad():
        return contract.pseudo_labels(fuser.fuse(prediction, evidence), images, fuser.task)


def calibrate(
    fuser: Fuser, held: Iterable[tuple[Prediction, Mapping[str, Evidence], Batch]]
) -> None:
    """Let a fuser learn from rows that were held out."""
    with called(fuser, "calibrate"):
        fuser.calibrate(held)


def survey(
    fuser: Fuser, teacher: nn.Module, labelled: Iterable[Batch], unlabelled: Iterable[Batch]
) -> None:
    """Let a fuser look at all rows with an isolated teacher."""
    with called(fuser, "survey"):
        fuser.survey(teacher, labelled, unlabelled)  # type: ignore[arg-type]


def consistent(
    fuser: Fuser, student: Prediction, pseudo: PseudoLabels, labelled: Prediction, rows: int
) -> dict[str, LossTerm]:
    """The fuser's loss terms for one view of so many rows."""
    with called(fuser, "loss"):
        return contract.loss_terms(fuser.loss(student, pseudo, labelled), rows)


def perturb(perturbation: Perturbation, view: View, labelled: Batch) -> list[View]:
    """Strong views; what they do to feature maps later is the perturbation's too."""
    with called(perturbation, "perturb"):
        found = contract.views(perturbation.perturb(view, labelled), view, perturbation.task)
    return [
        each
        if each.on_features is None or each.on_features is view.on_features
        else replace(each, on_features=Change(perturbation, each.on_features, view.on_features))
        for each in found
    ]
