"""Inf-Net (Fan et al., 2020): a coarse map, refined where it found nothing yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import timm
import torch
from pydantic import Field
from torch import Tensor, nn

from plk_baselines.blocks import mask_head, refuse_small
from plk_baselines.maps import resized
from plk_baselines.refine import FieldBlock, PartialDecoder, ReverseAttention, conv
from plk_baselines.structure import edges, structure
from pseudolabel_kit.errors import ConfigError, nearest
from pseudolabel_kit.interfaces import Backbone, Batch, LossTerm, Prediction, Task
from pseudolabel_kit.losses import segmentation
from pseudolabel_kit.weights import Normalise, fill_from_timm

STRIDES = [2, 4, 8, 16, 32]


@dataclass(frozen=True, kw_only=True)
class InfNet(Backbone):
    """A network that segments only; its encoder is any of timm's with maps at 1/2 to 1/32.

    Batch normalisation: in training, rows see their batch. Images may have any size from 32x32,
    odd ones too; below 64x64 a batch needs two rows or more.

    Attributes:
        encoder: timm's name; Res2Net-50 is the published one.
        width: channels of every map after the encoder.
        pretrained: weights for the encoder: the path of a safetensors or torch file, or a
            published name (imagenet) that is looked up in the local cache of the Hugging Face
            Hub alone; images are then normalised as those weights expect. none = untrained.
    """

    weighs_background: ClassVar[bool] = False
    encoder: str = "res2net50_26w_4s"
    width: Annotated[int, Field(ge=1)] = 32
    pretrained: str | None = None

    def build(self, task: Task) -> nn.Module:
        """An `InfNetwork` for the task's channels and masks.

        Raises:
            ConfigError: timm has no such encoder, or its maps have other strides; images are
                smaller than 32x32.
        """
        refuse_small("inf-net", task.size)
        encoder, channels = _encoder(self.encoder, task.channels)
        normalise = Normalise(task.channels)
        return InfNetwork(normalise, encoder, channels, self.width, task.mask_channels)

    def pretrain(self, model: nn.Module) -> None:
        """Fill the encoder.

        Raises:
            ConfigError: the pretrained weights cannot be reached, or do not fit.
        """
        assert isinstance(model, InfNetwork)
        if self.pretrained is not None:
            fill_from_timm(model.encoder, model.normalise, self.pretrained, self.encoder)

    def loss(self, prediction: Prediction, batch: Batch) -> Mapping[str, LossTerm]:
        """Border-weighted BCE and IoU on the four maps (three of them summed), BCE on the edge."""
        border, *coarser = prediction.sides
        w, masks = self.task.background_weight, (batch.mask, batch.has_mask)
        finest = structure(prediction.need_masks("inf-net"), *masks, w)
        totals = [structure(resized(side, batch.mask), *masks, w).total for side in coarser]
        return {
            "segmentation": finest,
            "segmentation.sides": LossTerm(
                total=torch.stack(totals).sum(dim=0), count=finest.count
            ),
            "segmentation.edge": segmentation(
                resized(border, batch.mask), edges(batch.mask), batch.has_mask, 1.0
            ),
        }


class InfNetwork(nn.Module):
    """Encoder, edge branch on the second map, partial decoder and refinement on the last three.

    `sides` are the logits (B,K,h,w) of the edge at 1/4, of the partial decoder at 1/8, and of
    the first two refinements, at 1/32 and 1/16; the third, at 1/8, is the answer.
    """

    def __init__(
        self,
        normalise: Normalise,
        encoder: nn.Module,
        channels: Sequence[int],
        width: int,
        masks: int,
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.encoder = encoder
        self.edge = nn.Sequential(conv(channels[1], width), conv(width, width), conv(width, width))
        self.edge_head = mask_head(width, masks, 1)
        self.fields = nn.ModuleList([FieldBlock(count, width) for count in channels[2:]])
        self.partial = PartialDecoder(width)
        self.partial_head = mask_head(3 * width, masks, 1)
        self.refine = nn.ModuleList(
            [ReverseAttention(count + width, width, masks) for count in channels[:1:-1]]
        )

    def forward(self, images: Tensor) -> Prediction:
        """Mask logits (B,K,H,W) and the four sides; there is no class head."""
        refuse_small("inf-net", images.shape[-2:])
        _, shallow, *deep = self.encoder(self.normalise(images))
        edge = self.edge(shallow)
        fields = [field(x) for field, x in zip(self.fields, deep, strict=True)]
        maps = [self.partial_head(self.partial(*fields))]
        for stage, features in zip(self.refine, reversed(deep), strict=True):
            maps.append(stage(features, edge, maps[-1]))
        *coarser, finest = maps
        return Prediction(
            mask_logits=resized(finest, images), sides=(self.edge_head(edge), *coarser)
        )


def _encoder(name: str, channels: int) -> tuple[nn.Module, list[int]]:
    """The encoder, and the channels of its five maps."""
    if not timm.is_model(name):
        hint = nearest(name, timm.list_models())
        raise ConfigError(f"inf-net: encoder={name}: timm has no such model{hint}")
    encoder: Any = timm.create_model(name, features_only=True, in_chans=channels)
    strides = encoder.feature_info.reduction()
    if strides != STRIDES:
        raise ConfigError(
            f"inf-net: encoder={name}: its maps are at 1/{', 1/'.join(map(str, strides))}: "
            "expected 1/2, 1/4, 1/8, 1/16 and 1/32, as of res2net50_26w_4s or resnet18"
        )
    return encoder, encoder.feature_info.channels()
