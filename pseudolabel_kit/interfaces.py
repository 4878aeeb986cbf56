"""The contract: what flows through a run, and what a plugin author writes.

Shapes    B rows of a batch, C image channels, N image classes, K mask channels
          (1 = one lesion, sigmoid), H W pixels, D h w a feature map.
Kinds     an ABC for what authors write, a Protocol for what they receive,
          a frozen dataclass for what flows between them.
Options   the fields of a part's frozen, keyword-only dataclass are its options.
Random    draw from torch's global generator: the engine seeds it before every
          step from (seed, step, rank), so that a run resumes bit for bit.

This module imports no torch: a light plugin module may import it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

Family: TypeAlias = Literal["class-map", "attribution"]
Split: TypeAlias = Literal["labelled", "unlabelled", "val", "test"]


# ── what flows ──────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a run is about: known before the first batch, the same for every part.

    Attributes:
        channels: C, 1 for grey, 3 for colour.
        size: (H, W) in pixels.
        classes: the N class names; a label is an index into them.
        lesion_classes: indices of the classes whose images can hold foreground.
        mask_channels: K.
        background_weight: w of eq. 11 and 12, in (0, 1]: the weight of background.
    """

    channels: int
    size: tuple[int, int]
    classes: tuple[str, ...]
    lesion_classes: tuple[int, ...]
    mask_channels: int = 1
    background_weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of one stream. Every row may lack its label, its mask, or both.

    Attributes:
        image: (B,C,H,W) float in [0, 1].
        label: (B,) int64 in [0, N); meaningless where `has_label` is false.
        mask: (B,K,H,W) float in {0, 1}; meaningless where `has_mask` is false.
        has_label: (B,) bool.
        has_mask: (B,) bool.
        region: (B,1,H,W) float in {0, 1}, where a finding is possible (the lungs);
            None where the dataset has no regions.
    """

    image: Tensor
    label: Tensor
    mask: Tensor
    has_label: Tensor
    has_mask: Tensor
    region: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Scale:
    """One feature map that a linear head classifies: what class activation maps are made of.

    Attributes:
        features: (B,D,h,w).
        weight: (N,D), the head's weight without its bias.
    """

    features: Tensor
    weight: Tensor


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A model's answer to a batch of images.

    Attributes:
        class_logits: (B,N).
        mask_logits: (B,K,H,W).
        scales: shallowest first; empty where the classifier has no linear head to map.
    """

    class_logits: Tensor
    mask_logits: Tensor
    scales: tuple[Scale, ...] = ()

    def rows(self, chosen: slice) -> Prediction:
        """The prediction of some of the batch's rows."""
        scales = tuple(replace(s, features=s.features[chosen]) for s in self.scales)
        return Prediction(
            class_logits=self.class_logits[chosen],
            mask_logits=self.mask_logits[chosen],
            scales=scales,
        )


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Where an explainer says the lesion is.

    Attributes:
        map: (B,1,H,W) or (B,K,H,W) in [0, 1], detached.
        family: fusers weigh families; explainers of one family share its weight.
    """

    map: Tensor
    family: Family


@dataclass(frozen=True, kw_only=True)
class PseudoLabels:
    """The targets that stand in for the missing truth of unlabelled rows, detached.

    Attributes:
        mask: (B,K,H,W) in [0, 1], soft or hard.
        mask_weight: (B,1,H,W) >= 0; 0 = ignore the pixel.
        label: (B,N) class probabilities, or None where only masks are labelled.
        label_weight: (B,) >= 0, or None together with `label`.
    """

    mask: Tensor
    mask_weight: Tensor
    label: Tensor | None = None
    label_weight: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class View:
    """Unlabelled rows on their way from the weak view to what the student is shown.

    Whoever moves pixels in `batch` moves them in `pseudo` too.
    """

    batch: Batch
    pseudo: PseudoLabels

    def with_image(self, image: Tensor) -> View:
        """The same view with other pixels, for changes that move nothing."""
        return replace(self, batch=replace(self.batch, image=image))


@dataclass(frozen=True, kw_only=True)
class LossTerm:
    """A mean that is kept as two sums, so that it is exact over any number of processes.

    The loss is sum(total) / sum(count), both sums over every row of every process.

    Attributes:
        total: (B,) each row's summed loss; 0 where the row does not count.
        count: (B,) how much each row counts: 1 per row, or its number of pixels; detached.
    """

    total: Tensor
    count: Tensor


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """When a loss term joins: 0 before `start`, then linear over `length` up to `weight`.

    Moments are written "20%" (of the run), "20epochs" or "500steps".
    """

    weight: float = 1.0
    start: str = "0%"
    length: str = "0%"


class Model(Protocol):
    """What a backbone builds and what explainers receive: a `torch.nn.Module`."""

    def __call__(self, images: Tensor) -> Prediction:
        """Classify and segment images (B,C,H,W) in [0, 1]."""

    def classify(self, images: Tensor) -> Tensor:
        """Class logits (B,N) alone, without the decoder: what attributions differentiate."""


# ── what authors write ──────────────────────────────────────────────────────────────


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
    """Builds the network that classifies and segments."""

    @abstractmethod
    def build(self, task: Task) -> nn.Module:
        """A module that keeps the `Model` protocol, initialised from torch's generator."""


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
        """Named figures on how far the maps can be trusted, for the audit."""
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

    def loss(self, student: Prediction, pseudo: PseudoLabels) -> Mapping[str, LossTerm]:
        """The consistency terms by name: weighted BCE on masks (eq. 12), CE on labels."""
        from pseudolabel_kit.losses import consistency

        return consistency(student, pseudo, background_weight=self.task.background_weight)


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


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is known of one image before its pixels are read.

    Attributes:
        name: unique within the dataset; names the image in outputs.
        label: index into the dataset's classes, or None.
        patient: rows of one patient never stand on two sides of a split.
        split: the side that the dataset itself names, or None.
        has_mask: whether `read` gives a mask.
        has_region: whether `read` gives a region.
    """

    name: str
    label: int | None = None
    patient: str | None = None
    split: Split | None = None
    has_mask: bool = False
    has_region: bool = False


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The pixels of one row.

    Attributes:
        image: (C,H,W) float32 in [0, 1].
        mask: (K,H,W) bool, or None.
        region: (1,H,W) bool, or None.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.bool_] | None = None
    region: NDArray[np.bool_] | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC):
    """Images and what is known of them; read once, into a packed store."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Class names."""

    @property
    @abstractmethod
    def lesion_classes(self) -> tuple[int, ...]:
        """Indices of the classes whose images can hold foreground."""

    @abstractmethod
    def rows(self) -> Sequence[Row]:
        """Every row, always in the same order."""

    @abstractmethod
    def read(self, index: int) -> Sample:
        """The pixels of row `index`. Must give the same answer every time, in any process."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Changes whenever any pixel, label or split may have changed; cheap to ask."""
