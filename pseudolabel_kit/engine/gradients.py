"""Back from the loss to the weights: what fails there is told by the loss term that it came from.

One sum is walked back, so that nothing tells whose it was where that fails. Only then the step is
repeated and its terms are walked back one by one: first to the answers of the network, which is
what a loss does, then to the weights, which is what the network does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pseudolabel_kit.engine import contract
from pseudolabel_kit.engine.contract import Range
from pseudolabel_kit.engine.finite import DivergedError
from pseudolabel_kit.engine.seeding import seed_everything
from pseudolabel_kit.engine.step import CONSISTENCY
from pseudolabel_kit.engine.undo import undone
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import LossTerm, Part, Prediction
from pseudolabel_kit.plugin.blame import blamed
from pseudolabel_kit.plugin.line import in_a_line

if TYPE_CHECKING:
    from pseudolabel_kit.engine.loop import Loop


class GradientError(Exception):
    """A loss cannot be walked back, or its gradients are not finite; `told_by_term` says whose."""


def differentiate(loop: Loop, loss: Tensor) -> None:
    """Give the weights the gradients of a step's loss, clipped where that is asked for.

    Raises:
        GradientError: that fails, or they are not finite.
    """
    try:
        loop.fabric.backward(loss)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a part's own autograd function: it may raise anything
        raise GradientError from error
    norm = loop.fabric.clip_gradients(
        loop.wrapped,
        loop.optimiser,
        max_norm=loop.config.optimiser.clip or math.inf,
        error_if_nonfinite=False,
    )
    if norm is not None and not norm.isfinite():
        raise GradientError


@contextmanager
def told_by_term(loop: Loop) -> Iterator[None]:
    """Around a step that is undone where it fails: a `GradientError` gets the name of a part.

    Raises:
        FaultError: of the part whose term it was, or of the backbone.
        PluginError: every term by itself is sound; all are named.
        DivergedError: likewise, but their sum has gradients that are not finite.
    """
    try:
        yield
    except GradientError as error:
        with undone(loop.learner):
            terms = _accuse(loop)
        if error.__cause__ is None:
            raise DivergedError("gradients") from None
        why = in_a_line(error.__cause__)
        raise PluginError(f"the gradients of {', '.join(terms)}: {why}") from error.__cause__


def _accuse(loop: Loop) -> Mapping[str, LossTerm]:
    """Repeat the step and blame whoever fails in it; its terms, where nobody does."""
    learner, number = loop.learner, loop.progress.step
    seed_everything(loop.config.train.seed, number, loop.fabric.global_rank)
    with _answers(learner.model, learner.twin) as answers, loop.fabric.autocast():
        terms = learner.losses(loop.feed.step(number, loop.weights(number)))
    for name, term in terms.items():
        owner = _owner(loop, name)
        _walk_back(owner, "loss", {name: term}, [*answers, *_trainable(owner.state)])
    _walk_back(learner.method.backbone, "forward", terms, [*_trainable(learner)])
    return terms


@contextmanager
def _answers(*networks: nn.Module | None) -> Iterator[list[Tensor]]:
    """What students answer inside, as far as a loss can be walked back to it."""
    found: list[Tensor] = []

    def keep(module: nn.Module, images: Any, answer: Prediction) -> None:
        heads = (answer.class_logits, answer.mask_logits, *answer.sides)
        maps = (each for scale in answer.scales for each in (scale.features, scale.weight))
        found.extend(each for each in (*heads, *maps) if each is not None and each.requires_grad)

    handles = [each.register_forward_hook(keep) for each in networks if each is not None]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _walk_back(part: Part, method: str, terms: Mapping[str, LossTerm], to: list[Tensor]) -> None:
    """Refuse gradients of these terms that cannot be had or are not finite, one term at a time."""
    for name, term in terms.items():
        if not term.total.requires_grad or not to:
            continue
        with blamed(part, f"backward of {method}"):
            found = torch.autograd.grad(term.total.sum(), to, retain_graph=True, allow_unused=True)
            known = (each for each in found if each is not None and each.numel())
            what = f"a gradient of '{name}'"
            contract.require(*(Range(what, each, -math.inf, math.inf) for each in known))


def _owner(loop: Loop, term: str) -> Part:
    """Whose loss a term is."""
    method = loop.learner.method
    if term.partition(".")[0] == CONSISTENCY:
        return method.fuser
    return method.explainers.get(term, method.backbone)


def _trainable(module: nn.Module | None) -> list[Tensor]:
    return [] if module is None else [p for p in module.parameters() if p.requires_grad]
