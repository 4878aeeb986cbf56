"""What flows through a run: frozen, keyword-only, with the shapes written down."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from pseudolabel_kit.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Features: TypeAlias = tuple[Tensor, ...]

Family: TypeAlias = Literal["class-map", "attribution", "uncertainty"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a run is about: known before the first batch, the same for every part.

    Attributes:
        channels: C, 1 for grey, 3 for colour.
        size: (H, W) in pixels.
        classes: the N class names; a label is an index into them.
        lesion_classes: indices of the classes whose images can hold foreground.
        mask_channels: how many, K.
        background_weight: w of eq. 11 and 12, in (0, 1]: the weight of background; 1 where the
            backbone's own loss knows none.
        debias: whether w is undone in the teacher's mask logits before parts see them.
    """

    channels: int
    size: tuple[int, int]
    classes: tuple[str, ...]
    lesion_classes: tuple[int, ...]
    mask_channels: int = 1
    background_weight: float = 1.0
    debias: bool = True


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
    """A model's answer to a batch of images. A model may lack one of the two heads.

    Attributes:
        class_logits: (B,N), or None where the model does not classify.
        mask_logits: (B,K,H,W), or None where the model does not segment.
        scales: shallowest first; empty where the classifier has no linear head to map.
        sides: whatever else the backbone's own loss reads (deep supervision, edges); each
            has the rows as its first axis.
    """

    class_logits: Tensor | None = None
    mask_logits: Tensor | None = None
    scales: tuple[Scale, ...] = ()
    sides: tuple[Tensor, ...] = ()

    def rows(self, chosen: slice) -> Prediction:
        """The prediction of some of the batch's rows."""
        return Prediction(
            class_logits=None if self.class_logits is None else self.class_logits[chosen],
            mask_logits=None if self.mask_logits is None else self.mask_logits[chosen],
            scales=tuple(replace(s, features=s.features[chosen]) for s in self.scales),
            sides=tuple(side[chosen] for side in self.sides),
        )

    def need_classes(self, part: str) -> Tensor:
        """The class logits (B,N), for a part that cannot do without.

        Raises:
            PluginError: the model does not classify; it names the part.
        """
        if self.class_logits is None:
            raise PluginError(
                f"{part}: this backbone does not classify: expected one with class scores, "
                "such as vgg-multiscale"
            )
        return self.class_logits

    def need_masks(self, part: str) -> Tensor:
        """The mask logits (B,K,H,W), for a part that cannot do without.

        Raises:
            PluginError: the model does not segment; it names the part.
        """
        if self.mask_logits is None:
            raise PluginError(
                f"{part}: this backbone does not segment: expected one with a decoder, "
                "such as vgg-multiscale"
            )
        return self.mask_logits


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
        mask: (B,K,H,W) in [0, 1], soft or hard, or None where only classes are labelled.
        mask_weight: (B,1,H,W) >= 0; 0 = ignore the pixel; None together with `mask`.
        label: (B,N) class probabilities, or None where only masks are labelled.
        label_weight: (B,) >= 0, or None together with `label`.
    """

    mask: Tensor | None = None
    mask_weight: Tensor | None = None
    label: Tensor | None = None
    label_weight: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class View:
    """Unlabelled rows on their way from the weak view to what the student is shown.

    Whoever moves pixels in `batch` moves them in `pseudo` too.

    Attributes:
        on_features: changes the student's feature maps between encoder and decoder: given
            and returning a tuple of (B,D,h,w), shallowest first. None = left alone. Only
            for backbones whose model takes `on_features` (see `Model`).
    """

    batch: Batch
    pseudo: PseudoLabels
    on_features: Callable[[Features], Features] | None = None

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
    """What a backbone builds and what explainers receive: a `torch.nn.Module`.

    A model whose `forward` has a second parameter `on_features=None` lets perturbations
    change its feature maps: it calls `on_features(features)` between encoder and decoder.
    """

    def __call__(self, images: Tensor) -> Prediction:
        """Classify and segment images (B,C,H,W) in [0, 1]."""

    def classify(self, images: Tensor) -> Tensor:
        """Class logits (B,N) alone, without the decoder: what attributions differentiate.

        A model without a class head has no such method.
        """
