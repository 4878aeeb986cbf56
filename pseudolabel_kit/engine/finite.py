"""Numbers that are not finite: who made them, or that training diverged.

Nothing here waits for the device while all is well: what is looked at one by one is looked at
only once something is wrong, or where weights are brought from the device anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from pseudolabel_kit.engine import contract
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.interfaces import Backbone, Perturbation, Prediction, View
from pseudolabel_kit.plugin.blame import BlamelessError, FaultError, RefusedError, blamed, gave

if TYPE_CHECKING:
    from pseudolabel_kit.interfaces.flow import Features


class DivergedError(RunError, BlamelessError):
    """The weights, or their gradients, are not finite; no part is known to be at fault."""

    def __init__(self, what: str = "weights") -> None:
        super().__init__(
            f"the {what} are not finite: training diverged; lower optimiser.lr or optimiser.clip "
            "and train anew, for --resume would repeat it"
        )


def require_weights(weights: Iterable[nn.Parameter]) -> None:
    """Refuse weights that are not finite, in one transfer.

    Raises:
        DivergedError: there are some.
    """
    finite = [weight.detach().isfinite().all() for weight in weights]
    if finite and not torch.stack(finite).all():
        raise DivergedError


@contextmanager
def unless_diverged(model: nn.Module) -> Iterator[None]:
    """Around what is asked of a model: with weights that are not finite, no part is at fault.

    Raises:
        DivergedError: in place of a `FaultError`.
    """
    try:
        yield
    except FaultError:
        require_weights(model.parameters())
        raise


def require_answer(backbone: Backbone, model: nn.Module, answer: Prediction) -> None:
    """Refuse scores that are not finite, or so large that a loss of them is not.

    Raises:
        FaultError: of the backbone; overflow where weights grew large cannot be told from a
            fault, so the largest weight is named.
    """
    try:
        contract.require(*contract.scores(answer))
    except RefusedError as error:
        weights = [each.detach() for each in model.parameters() if each.numel()]
        largest = max((float(each.abs().max()) for each in weights), default=0.0)
        told = (
            f"{error}, or a lower optimiser.lr where training made the weights large "
            f"(the largest is {largest:.3g})"
        )
        raise gave(backbone, "forward", RefusedError(told)) from None


@contextmanager
def taught_by(
    backbone: Backbone, student: nn.Module, answer: Prediction, views: Iterable[View]
) -> Iterator[None]:
    """Around the losses of a student's answer: a fault in what came before them comes first.

    Raises:
        DivergedError: the student's weights are not finite.
        FaultError: of a perturbation whose feature maps are not finite, or of the backbone whose
            answer is not; else as it was raised.
    """
    with unless_diverged(student):
        try:
            yield
        except FaultError:
            for view in views:
                if isinstance(view.on_features, Change):
                    view.on_features.require_finite()
            require_answer(backbone, student, answer)
            raise


class Change:
    """What a perturbation does to feature maps; what it was given and gave is kept for blame.

    Args:
        perturbation: whose change it is.
        change: the `on_features` of its view.
        given: the `on_features` of the view that it was given, which `change` may call.
    """

    def __init__(
        self,
        perturbation: Perturbation,
        change: Callable[[Features], Features],
        given: Callable[[Features], Features] | None,
    ) -> None:
        self._perturbation = perturbation
        self._change = change
        self._given = given
        self._before: Features = ()
        self._after: Features = ()

    def __call__(self, features: Features) -> Features:
        """The changed maps, which are like the given ones."""
        with blamed(self._perturbation, "on_features"):
            changed = tuple(self._change(features))
            for new, old in zip(changed, features, strict=True):
                contract.tensor(new, "feature maps", tuple(old.shape))
        self._before, self._after = features, changed
        return changed

    def require_finite(self) -> None:
        """Refuse maps that were finite before the change and are not after it.

        Raises:
            FaultError: of this perturbation, or of one before it.
        """
        if isinstance(self._given, Change):
            self._given.require_finite()
        before, after = (contract.feature_maps(maps) for maps in (self._before, self._after))
        try:
            contract.require(*before, *after)
        except RefusedError as error:
            if all(each.values.isfinite().all() for each in before):
                raise gave(self._perturbation, "on_features", error) from None
