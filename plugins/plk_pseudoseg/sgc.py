"""SGC, self-attention Grad-CAM (Zou et al., 2021): class maps with a trained propagation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from plk_pseudoseg.head import SgcHead
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.evidence import lesion_classes
from pseudolabel_kit.interfaces import (
    Batch,
    Explainer,
    Family,
    LossTerm,
    Model,
    Prediction,
    Scale,
    Task,
)
from pseudolabel_kit.losses import segmentation


@dataclass(frozen=True, kw_only=True)
class Sgc(Explainer):
    """Grad-CAM of the classes that can hold lesions, spread among pixels with like features.

    Maps of classes that the image does not show are blank. PseudoSeg's classes exclude nothing
    and have a sigmoid each; ours exclude each other, so that "shows" is a softmax probability,
    and at 0.5 no more than one class has a map.

    The head is trained on rows with a mask, by cross-entropy, from the start and with weight 1.
    Features and maps are detached: nothing but the head learns from it.

    Attributes:
        dim: width of query and key.
        presence: the class probability from which an unlabelled image shows a class; 0 = always.
    """

    family: ClassVar[Family] = "class-map"
    dim: Annotated[int, Field(ge=1)] = 128
    presence: Annotated[float, Field(ge=0, le=1)] = 0.5

    def make_state(self, task: Task) -> nn.Module:
        """The head, one map in for each class that can hold lesions."""
        return SgcHead(maps=len(lesion_classes(task)), masks=task.mask_channels, dim=self.dim)

    def explain(self, model: Model, images: Tensor, prediction: Prediction) -> Tensor:
        """(B,K,H,W): the head's probability of a lesion."""
        with torch.no_grad():
            return torch.sigmoid(self._logits(prediction, self._shown(prediction), images))

    def loss(self, prediction: Prediction, batch: Batch) -> LossTerm:
        """Pixel cross-entropy over rows with a mask; where a row's class is known, it is shown.

        Over two categories it is the binary cross-entropy of their difference.
        """
        shown = self._shown(prediction)
        known = F.one_hot(batch.label.where(batch.has_label, 0), shown.shape[1]).bool()
        shown = torch.where(batch.has_label[:, None], known, shown)
        logits = self._logits(prediction, shown, batch.image)
        return segmentation(logits, batch.mask, batch.has_mask, background_weight=1.0)

    def _shown(self, prediction: Prediction) -> Tensor:
        """(B,N) bool: the classes that the model sees."""
        logits = prediction.need_classes("sgc").detach().float()
        return torch.softmax(logits, dim=1) >= self.presence

    def _logits(self, prediction: Prediction, shown: Tensor, images: Tensor) -> Tensor:
        """(B,K,H,W), lesion against background."""
        if not prediction.scales:
            raise PluginError(
                "sgc: the model's classifier has no linear head to map: "
                "expected a backbone with scales, such as vgg-multiscale"
            )
        classes = list(lesion_classes(self.task))
        maps = class_maps(prediction.scales[-1], classes) * shown[:, classes, None, None]
        head = self.state
        assert head is not None
        logits = head(hypercolumn(prediction.scales), maps)
        return F.interpolate(logits.float(), images.shape[-2:], mode="bilinear")


def class_maps(scale: Scale, classes: Sequence[int]) -> Tensor:
    """Grad-CAM of each class over its maximum: (B,L,h,w) in [0, 1], detached.

    Grad-CAM weighs each feature map by the mean gradient of the class score on it. Where a
    linear head follows global pooling, by mean or by maximum, that gradient is the head's
    weight over the number of pixels, and the ReLU of CAM differs from Grad-CAM by that number
    alone, which the maximum takes out: no backward pass is needed.
    """
    weight, features = scale.weight[list(classes)].detach().float(), scale.features.detach().float()
    maps = torch.einsum("nd,bdhw->bnhw", weight, features).relu()
    return maps / maps.amax(dim=(2, 3), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)


def hypercolumn(scales: Sequence[Scale]) -> Tensor:
    """The features of the last two scales, or the only one, on the last one's grid, detached."""
    late = [scale.features.detach().float() for scale in scales[-2:]]
    height, width = late[-1].shape[-2:]
    return torch.cat([F.adaptive_avg_pool2d(f, (height, width)) for f in late], dim=1)
