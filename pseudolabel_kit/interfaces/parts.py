"""What authors of methods write: the parts that are chosen by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pseudolabel_kit.interfaces.flow import (
    Batch,
    Evidence,
    Family,
    LossTerm,
    Model,
    Prediction,
    PseudoLabels,
    Ramp,
    Task,
    View,
)

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Part(ABC):
    """What every part of a method has: options as fields, and a task once the run begins.

    A part that learns or remembers keeps it in the module that `make_state` returns. It is
    trained where it has parameters, saved, restored and synchronised with the model, and
    found again as `self.state`. Options out of range are refused in `__post_init__` with a
    `ValueError` that says what was expected.
    """

    def make_state(self, task: Task) -> nn.Module | None:
        """The parameters and buffers that this part keeps, or None."""
        return None

    def begin(self, task: Task) -> None:
        """Bind the part to a run. The engine calls this once, before anything else."""
        object.__setattr__(self, "_task", task)
        object.__setattr__(self, "_state", self.make_state(task))

    @property
    def origin(self) -> str:
        """What messages call this part: "fuser 'sharpen:norm=pixel' of plugin 'calibrated'"."""
        origin: str = self.__dict__.get("_origin", type(self).__name__)
        return origin

    @property
    def task(self) -> Task:
        """The task of the run that this part belongs to."""
        task: Task = self.__dict__["_task"]
        return task

    @property
    def state(self) -> nn.Module | None:
        """What `make_state` returned when the run began."""
        state: nn.Module | None = self.__dict__["_state"]
        return state


@dataclass(frozen=True, kw_only=True)
class Backbone(Part):
    """Builds the network that classifies and segments.

    A backbone whose own `loss` gives background no weight says so by `weighs_background`, so
    that nobody undoes a bias that its masks do not have.
    """

    weighs_background: ClassVar[bool] = True

    @abstractmethod
    def build(self, task: Task) -> nn.Module:
        """A module that keeps the `Model` protocol, initialised from torch's generator."""

    def pretrain(self, model: nn.Module) -> None:
        """Fill a newly built model with pretrained weights, where an option asks for some.

        Called when a run begins. A run that goes on or is loaded brings its own weights, and
        needs no longer what they once came from.
        """

    def loss(self, prediction: Prediction, batch: Batch) -> Mapping[str, LossTerm]:
        """The supervised terms: CE on classes (eq. 1) and weighted BCE on masks (eq. 11).

        A term is named "classification" or "segmentation", whose weight it has, or after one
        of them, as "segmentation.edge". A head that the model lacks has no term.
        """
        from pseudolabel_kit.losses import supervised

        return supervised(prediction, batch, background_weight=self.task.background_weight)


@dataclass(frozen=True, kw_only=True)
class Explainer(Part):
    """Says where in an image the model sees its class."""

    family: ClassVar[Family] = "attribution"

    @abstractmethod
    def explain(self, model: Model, images: Tensor, prediction: Prediction) -> Tensor:
        """Evidence (B,1,H,W) or (B,K,H,W) in [0, 1], detached.

        Args:
            model: isolated: in eval mode, its parameters without gradients.
            images: (B,C,H,W) in [0, 1].
            prediction: the model's answer to these images, detached.
        """

    def loss(self, prediction: Prediction, batch: Batch) -> LossTerm | None:
        """A supervised term that refines the explainer's own map, or None."""
        return None

    def loss_ramp(self) -> Ramp:
        """When that term joins, and with what weight."""
        return Ramp()

    def diagnose(self, model: Model, images: Tensor, prediction: Prediction) -> Mapping[str, float]:
        """Named figures on how far the maps can be trusted, for the audit.

        Each is a mean over the images: the audit asks batch by batch, and averages. No share of
        two means is one, so tell the two.
        """
        return {}


@dataclass(frozen=True, kw_only=True)
class Fuser(Part):
    """Turns a prediction and the evidence into pseudo labels.

    `reads` spares what a fuser does not need: "evidence" (and the prediction),
    "prediction" (explainers are not run), or "nothing" (unlabelled rows are not read).
    """

    reads: ClassVar[Literal["evidence", "prediction", "nothing"]] = "evidence"

    @abstractmethod
    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        """Pseudo labels for the rows of `prediction`; no row may depend on another.

        Args:
            prediction: the teacher's answer to the weak view, detached; its mask logits
                are corrected for the background weight that the decoder was trained with.
            evidence: by the explainer's whole reference ("ig:steps=8").
        """

    def loss(
        self, student: Prediction, pseudo: PseudoLabels, labelled: Prediction
    ) -> Mapping[str, LossTerm]:
        """The consistency terms by name: weighted BCE on masks (eq. 12), CE on labels.

        Args:
            student: the student's answer to one strong view of the unlabelled rows.
            pseudo: what it should have answered.
            labelled: the student's answer to the step's labelled rows, for methods that tie
                the two streams.
        """
        from pseudolabel_kit.losses import consistency

        return consistency(student, pseudo, background_weight=self.task.background_weight)

    def calibrate(self, held: Iterable[tuple[Prediction, Mapping[str, Evidence], Batch]]) -> None:
        """Learn from labelled rows that are held out of training for good (`audit.holdout`).

        Called when pseudo labels join and after every epoch from then on, since the network
        that they come from moves; what is found is kept in `state`, and by it alone an audit knows
        that a fit took place. `fuse` must answer without it: a run may hold nothing out.

        Args:
            held: batches of those rows, with what `fuse` would be given for them and the truth.
        """

    def survey(self, model: Model, labelled: Iterable[Batch], unlabelled: Iterable[Batch]) -> None:
        """Look at all rows when a round of pseudo labels begins (`train.rounds`).

        For methods that label by the whole pool; what they find is kept in `state`, whose
        `fuse` reads it until the next round.

        Args:
            model: the teacher, isolated.
            labelled: all training rows with labels, in batches, without augmentation.
            unlabelled: all unlabelled rows, likewise.
        """


@dataclass(frozen=True, kw_only=True)
class Perturbation(Part):
    """Makes the strong view, or several, that the student must answer like the weak one."""

    @abstractmethod
    def perturb(self, view: View, labelled: Batch) -> Sequence[View]:
        """One or more views of the same rows.

        Args:
            view: weakly augmented rows with their pseudo labels.
            labelled: the step's labelled rows, for methods that paste from them.
        """
