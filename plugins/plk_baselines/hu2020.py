"""Hu et al. (2020): classes on three scales, and masks from saliency that no mask trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation  # type: ignore[import-untyped]

from plk_baselines.blocks import refuse_small, scaled
from plk_baselines.maps import resized
from pseudolabel_kit.evidence import lesion_classes, minmax, target_class, to_evidence
from pseudolabel_kit.interfaces import Backbone, Batch, LossTerm, Prediction, Scale, Task
from pseudolabel_kit.losses import classification

FILTERS = (32, 64, 128, 256, 256)
LAYERS = (2, 2, 3, 3, 3)
CLASSIFIED = 3  # the last blocks, each with a class head
STEEPNESS = 10.0  # of the mask logits in the saliency's share; only their sign is meant


@dataclass(frozen=True, kw_only=True)
class Hu2020(Backbone):
    """Learns from class labels alone; where a lesion class is predicted, saliency is the mask.

    Joint saliency: integrated gradients from black, times the class maps of the three scales.
    It is computed in eval mode, at the cost of `steps` backward passes; in train mode there are
    no masks. Images may have any size from 32x32, odd ones too.

    On the phantom's lesion slices that were recognised, 0.3 was the best threshold (Dice 0.31;
    0.23 at 0.1, 0.26 at 0.5), and 8 or 32 steps marked no better than one.

    Attributes:
        width: factor on the 32, 64, 128, 256, 256 filters; 1 is the published size.
        steps: points on the path of integrated gradients; 1 = input times gradient.
        threshold: the share of an image's largest joint saliency from which on it is lesion.
    """

    weighs_background: ClassVar[bool] = False
    width: Annotated[float, Field(gt=0)] = 1.0
    steps: Annotated[int, Field(ge=1)] = 1
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.3

    def build(self, task: Task) -> nn.Module:
        """A `HuNet` for the task's channels and classes.

        Raises:
            ConfigError: the task's images are smaller than 32x32.
        """
        refuse_small("hu2020", task.size)
        filters = scaled(FILTERS, self.width)
        return HuNet(task, filters=filters, steps=self.steps, threshold=self.threshold)

    def loss(self, prediction: Prediction, batch: Batch) -> Mapping[str, LossTerm]:
        """CE on classes, and nothing else: the method is weakly supervised."""
        scores = prediction.need_classes("hu2020")
        return {"classification": classification(scores, batch.label, batch.has_label)}


class HuNet(nn.Module):
    """Five VGG blocks; the last three are classified and their largest scores summed."""

    def __init__(self, task: Task, *, filters: Sequence[int], steps: int, threshold: float) -> None:
        super().__init__()
        self.task, self.steps, self.threshold = task, steps, threshold
        shapes = zip((task.channels, *filters[:-1]), filters, LAYERS, strict=True)
        self.blocks = nn.ModuleList([_block(*shape) for shape in shapes])
        self.heads = nn.ModuleList(
            [nn.Conv2d(count, len(task.classes), 1) for count in filters[-CLASSIFIED:]]
        )

    def forward(self, images: Tensor) -> Prediction:
        """Class logits (B,N), the three scales and, in eval mode, mask logits (B,K,H,W)."""
        features = self._classified(images)
        logits = self._scores(features)
        scales = tuple(
            Scale(features=x, weight=head.get_parameter("weight")[:, :, 0, 0])
            for x, head in zip(features, self.heads, strict=True)
        )
        masks = None if self.training else self._masks(images, logits.detach(), scales)
        return Prediction(class_logits=logits, mask_logits=masks, scales=scales)

    def classify(self, images: Tensor) -> Tensor:
        """Class logits (B,N) alone."""
        return self._scores(self._classified(images))

    def _classified(self, images: Tensor) -> list[Tensor]:
        refuse_small("hu2020", images.shape[-2:])
        features: list[Tensor] = []
        for block in self.blocks:
            features.append(block(F.max_pool2d(features[-1], 2) if features else images))
        return features[-CLASSIFIED:]

    def _scores(self, features: list[Tensor]) -> Tensor:
        maps = [head(x).amax(dim=(2, 3)) for head, x in zip(self.heads, features, strict=True)]
        return torch.stack(maps).sum(dim=0)

    def _masks(self, images: Tensor, logits: Tensor, scales: tuple[Scale, ...]) -> Tensor:
        """>= 0 where joint saliency reaches the threshold and a lesion class is predicted."""
        label = target_class("lesion", logits, self.task)
        attribution = integrated_gradients(self.classify, images, label, self.steps)
        joint = to_evidence(attribution) * class_maps(scales, label, images)
        predicted = torch.isin(
            logits.argmax(dim=1), torch.tensor(lesion_classes(self.task), device=logits.device)
        )
        share = joint / joint.amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
        share = share * predicted[:, None, None, None]
        return (STEEPNESS * (share - self.threshold)).expand(-1, self.task.mask_channels, -1, -1)


def class_maps(scales: tuple[Scale, ...], label: Tensor, images: Tensor) -> Tensor:
    """(B,1,H,W) in [0, 1]: the mean over scales of the min-max scaled maps of class `label`."""
    maps = []
    for scale in scales:
        weight = scale.weight.detach()[label].float()
        cam = torch.einsum("bd,bdhw->bhw", weight, scale.features.detach().float())[:, None]
        maps.append(resized(minmax(cam), images))
    return torch.stack(maps).mean(dim=0)


def integrated_gradients(
    classify: Callable[[Tensor], Tensor], images: Tensor, label: Tensor, steps: int
) -> Tensor:
    """Attributions (B,C,H,W) of class `label` (B,) from black, by the right sum of `steps`.

    Works where gradients are switched off, and leaves every `.grad` alone.
    """
    total = torch.zeros_like(images)
    for step in range(1, steps + 1):
        with torch.inference_mode(False), torch.enable_grad():
            point = (images.detach() * (step / steps)).clone().requires_grad_()
            score = classify(point).gather(1, label.clone()[:, None]).sum()
            total = total + torch.autograd.grad(score, point)[0]
    return images.detach() * total / steps


def _block(inputs: int, outputs: int, layers: int) -> nn.Sequential:
    """3x3 convolution, instance norm, leaky ReLU, `layers` times."""
    unit = partial(
        Conv2dNormActivation,
        norm_layer=partial(nn.InstanceNorm2d, affine=True),
        activation_layer=nn.LeakyReLU,
    )
    sources = [inputs, *[outputs] * (layers - 1)]
    return nn.Sequential(*[unit(source, outputs) for source in sources])
