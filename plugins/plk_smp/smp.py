"""Any architecture of segmentation-models-pytorch on any encoder of it or of timm."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log
from typing import Annotated, Any

import segmentation_models_pytorch as smp  # type: ignore[import-untyped]
import timm
import torch
import torch.nn.functional as F
from pydantic import Field
from segmentation_models_pytorch.encoders import (  # type: ignore[import-untyped]
    encoders as ENCODERS,
)
from torch import Tensor, nn

from pseudolabel_kit.errors import ConfigError, PluginError, nearest
from pseudolabel_kit.interfaces import Backbone, Prediction, Scale, Task
from pseudolabel_kit.weights import (
    Normalise,
    Published,
    load_weights,
    locate,
    published_by_timm,
)

TIMM = "tu-"  # how smp marks encoders of timm
RARE = 0.05  # the share of foreground that the untrained decoder answers everywhere
ROUND = 32  # pixels: sides that encoders of one image size are built for are multiples of it


@dataclass(frozen=True, kw_only=True)
class Smp(Backbone):
    """An encoder, an smp decoder for masks, and a linear class head on the encoder's last stage.

    Most encoders and decoders normalise over the batch: in training, a row's answer depends a
    little on its batchmates.

    Attributes:
        arch: an architecture of smp: unet, unetplusplus, fpn, deeplabv3plus, segformer, ...
        encoder: an encoder of smp (resnet34), or tu- and one of timm (tu-convnext_nano).
        pretrained: weights for the encoder: the path of a safetensors or torch file, or a
            published name (imagenet) that is looked up in the local cache of the Hugging Face
            Hub alone; images are then normalised as those weights expect. none = untrained.
        dropout: share of the pooled features that the class head loses in training.
    """

    arch: str = "unet"
    encoder: str = "resnet34"
    pretrained: str | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def __post_init__(self) -> None:
        _known("architecture", self.arch, smp.MODEL_ARCHITECTURES_MAPPING)
        if self.encoder.startswith(TIMM):
            timms = [*timm.list_models(), *timm.list_pretrained()]
            _known("timm encoder", self.encoder, [TIMM + name for name in timms])
        else:
            _known("encoder", self.encoder, ENCODERS)

    def build(self, task: Task) -> nn.Module:
        """An `SmpNet` for the task's channels, classes and masks.

        Raises:
            PluginError: the architecture does not take the encoder; says why in smp's words.
        """
        try:
            net = self._network(task)
            model = SmpNet(net, task.channels, len(task.classes), self.dropout)
            with torch.no_grad():  # what does not fit shows with the first image
                model.eval()(torch.zeros(1, task.channels, *task.size))
        except Exception as error:  # smp and timm raise whatever their layers raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise PluginError(
                f"smp: arch={self.arch} does not take encoder={self.encoder} at "
                f"{task.size[0]}x{task.size[1]} pixels: {reason}"
            ) from error
        return model.train()

    def pretrain(self, model: nn.Module) -> None:
        """Fill the encoder.

        Raises:
            ConfigError: the pretrained weights cannot be reached, or do not fit.
        """
        assert isinstance(model, SmpNet)
        if self.pretrained is not None:
            path, source = self._weights(self.pretrained)
            load_weights(model.net.encoder, path)
            model.normalise.expect(source)

    def _network(self, task: Task) -> Any:
        """The encoder, decoder and mask head, as smp builds them."""
        options: dict[str, Any] = {}
        config = timm.get_pretrained_cfg(self.encoder.removeprefix(TIMM))
        if self.encoder.startswith(TIMM) and config and config.fixed_input_size:
            if self.arch == "dpt":
                options["dynamic_img_size"] = True
            else:
                options["img_size"] = tuple(ROUND * ceil(side / ROUND) for side in task.size)
        return smp.create_model(
            self.arch,
            encoder_name=self.encoder,
            encoder_weights=None,
            in_channels=task.channels,
            classes=task.mask_channels,
            **options,
        )

    def _weights(self, pretrained: str) -> tuple[Any, Published]:
        if self.encoder.startswith(TIMM):
            return locate(pretrained, published_by_timm(self.encoder.removeprefix(TIMM)))
        published = {
            name: Published(repo=found["repo_id"], revision=found["revision"])
            for name, found in ENCODERS[self.encoder]["pretrained_settings"].items()
        }
        path, source = locate(pretrained, published)
        if pretrained in published:
            figures = json.loads(source.cached("config.json").read_text(encoding="utf-8"))
            source = Published(repo=source.repo, mean=figures["mean"], std=figures["std"])
        return path, source


class SmpNet(nn.Module):
    """An smp model with a class head of ours: mean over the last feature map, then linear.

    An image whose sides are not multiples of the encoder's stride is enlarged to the next
    ones, and its mask logits brought back to its size: padding would shift class activation
    maps against the image. The class head reads the features before `on_features` changes
    them, so that `classify` and the class logits of `forward` are always the same.
    """

    def __init__(self, net: Any, channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.normalise = Normalise(channels)
        self.net = net
        self.dropout = nn.Dropout(dropout)
        self.class_head = nn.Linear(net.encoder.out_channels[-1], classes)
        # Lesions are rare: Lin et al., 2017, section 4.1.
        convolutions = [m for m in net.segmentation_head.modules() if isinstance(m, nn.Conv2d)]
        nn.init.constant_(convolutions[-1].bias, log(RARE / (1 - RARE)))  # type: ignore[arg-type]

    def forward(
        self,
        images: Tensor,
        on_features: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]] | None = None,
    ) -> Prediction:
        """Class logits (B,N), mask logits (B,K,H,W) and the last feature map as one scale."""
        inputs, features, tokens = self._encode(images)
        last = features[-1]
        if on_features is not None:
            features = _changed(features, inputs, on_features)
        masks = self.net.segmentation_head(self.net.decoder(features, *tokens))
        return Prediction(
            class_logits=self._class_logits(last),
            mask_logits=_resized(masks, images.shape[-2:]),
            scales=(Scale(features=last, weight=self.class_head.weight),),
        )

    def classify(self, images: Tensor) -> Tensor:
        """Class logits (B,N) alone; the decoder is not run."""
        return self._class_logits(self._encode(images)[1][-1])

    def _encode(self, images: Tensor) -> tuple[Tensor, list[Tensor], tuple[Any, ...]]:
        """What the encoder is given, its feature maps, and what vision transformers add."""
        stride = self.net.encoder.output_stride
        height, width = (stride * ceil(side / stride) for side in images.shape[-2:])
        inputs = self.normalise(_resized(images, (height, width)))
        found = self.net.encoder(inputs)
        features, *tokens = found if isinstance(found, tuple) else (found,)
        return inputs, list(features), tuple(tokens)

    def _class_logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.class_head(self.dropout(features.mean(dim=(2, 3))))
        return logits


def _changed(
    features: list[Tensor],
    inputs: Tensor,
    change: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]],
) -> list[Tensor]:
    """The feature maps after `change`, which sees neither the image itself nor empty stages."""
    chosen = [at for at, each in enumerate(features) if each is not inputs and each.shape[1]]
    changed = dict(zip(chosen, change(tuple(features[at] for at in chosen)), strict=True))
    return [changed.get(at, each) for at, each in enumerate(features)]


def _resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    if maps.shape[-2:] == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def _known(what: str, name: str, names: Any) -> None:
    if name not in names:
        several = ", ".join(names) if len(names) < 20 else "resnet34, or tu-convnext_nano of timm"
        hint = nearest(name, names) or f": expected one such as {several}"
        raise ConfigError(f"there is no {what} '{name}'{hint}")
