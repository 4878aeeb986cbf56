"""VGG-16 (Simonyan and Zisserman, 2015) and ResNet-18 (He et al., 2016), by timm: classes alone."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

import timm
from pydantic import Field
from timm.models.vgg import VGG, cfgs
from torch import Tensor, nn

from plk_baselines.blocks import refuse_small, scaled
from pseudolabel_kit.interfaces import Backbone, Prediction, Scale, Task
from pseudolabel_kit.weights import Normalise, fill_from_timm

RESNET_FILTERS = (64, 128, 256, 512)


@dataclass(frozen=True, kw_only=True)
class Classifier(Backbone):
    """Convolutions of a known network, their mean over the image, and one linear layer.

    It does not segment. The linear layer on the pooled map makes class activation maps
    possible (Zhou et al., 2016).

    Attributes:
        width: factor on the numbers of filters.
        pretrained: weights for the convolutions: the path of a safetensors or torch file, or
            a published name (imagenet) that is looked up in the local cache of the Hugging
            Face Hub alone; images are then normalised as those weights expect. none = untrained.
    """

    width: Annotated[float, Field(gt=0)] = 1.0
    pretrained: str | None = None

    @abstractmethod
    def trunk(self, channels: int) -> tuple[nn.Module, int]:
        """The convolutions, and the number of their last filters."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What timm calls it."""

    def build(self, task: Task) -> nn.Module:
        """A `ClassifierNet` for the task's channels and classes.

        Raises:
            ConfigError: images are smaller than 32x32.
        """
        refuse_small(self.name, task.size)
        trunk, filters = self.trunk(task.channels)
        return ClassifierNet(trunk, Normalise(task.channels), filters, len(task.classes))

    def pretrain(self, model: nn.Module) -> None:
        """Fill the convolutions.

        Raises:
            ConfigError: the pretrained weights cannot be reached, or do not fit.
        """
        assert isinstance(model, ClassifierNet)
        if self.pretrained is not None:
            fill_from_timm(model.trunk, model.normalise, self.pretrained, self.name)


@dataclass(frozen=True, kw_only=True)
class Vgg16(Classifier):
    """The thirteen convolutions of VGG-16, without its last pool and its dense layers.

    The dense layers hold nine tenths of the weights, fix the image's size and hide where the
    evidence lay: CAM drops them and the pool before them (Zhou et al., 2016, section 2).

    Attributes:
        norm: batch normalisation after every convolution (timm's vgg16_bn); false = as
            published, which from random weights learns nothing in the first steps at our rate.
    """

    norm: bool = True

    @property
    def name(self) -> str:
        """With or without batch normalisation."""
        return "vgg16_bn" if self.norm else "vgg16"

    def trunk(self, channels: int) -> tuple[nn.Module, int]:
        """timm's `VGG` up to conv5-3; a sixteenth of the image's side."""
        plan = [
            scaled((each,), self.width)[0] if isinstance(each, int) else each
            for each in cfgs["vgg16"]
        ]
        whole = VGG(
            plan,
            in_chans=channels,
            num_classes=0,
            norm_layer=nn.BatchNorm2d if self.norm else None,
            mlp_ratio=1 / 4096,  # the dense layers are dropped: no need to make them large
        )
        return whole.features[:-1], whole.num_features


@dataclass(frozen=True, kw_only=True)
class ResNet18(Classifier):
    """ResNet-18; `width` leaves the stem at 64 filters. The last map is 1/32 of the side."""

    @property
    def name(self) -> str:
        """The only one."""
        return "resnet18"

    def trunk(self, channels: int) -> tuple[nn.Module, int]:
        """timm's `resnet18` without pool and classifier."""
        filters = tuple(scaled(RESNET_FILTERS, self.width))
        net = timm.create_model(
            self.name, in_chans=channels, num_classes=0, global_pool="", channels=filters
        )
        return net, filters[-1]


class ClassifierNet(nn.Module):
    """Trunk, mean over the last map, linear head."""

    def __init__(self, trunk: nn.Module, normalise: Normalise, filters: int, classes: int) -> None:
        super().__init__()
        self.normalise = normalise
        self.trunk = trunk
        self.class_head = nn.Linear(filters, classes)

    def forward(self, images: Tensor) -> Prediction:
        """Class logits (B,N) and the last feature map as one scale."""
        features = self.trunk(self.normalise(images))
        return Prediction(
            class_logits=self.class_head(features.mean(dim=(2, 3))),
            scales=(Scale(features=features, weight=self.class_head.weight),),
        )

    def classify(self, images: Tensor) -> Tensor:
        """Class logits (B,N), all that there is."""
        logits: Tensor = self.class_head(self.trunk(self.normalise(images)).mean(dim=(2, 3)))
        return logits
