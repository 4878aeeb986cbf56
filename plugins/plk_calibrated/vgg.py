"""The paper's network: VGG blocks, class scores on three scales, a U-Net decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import Annotated, Literal, TypeAlias

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Backbone, Prediction, Scale, Task

BLOCKS = ("conv1", "conv2", "conv3", "conv4", "conv5")
FILTERS = (32, 64, 128, 256, 256)
LAYERS = (2, 2, 3, 3, 3)
RARE = 0.05  # the share of foreground that the untrained decoder answers everywhere
Pool: TypeAlias = Literal["max", "mean", "lme"]
SHARPNESS = 5.0  # of log-mean-exp: r of Pinheiro & Collobert; 0 is the mean, infinity the maximum
SMALLEST = 32  # pixels a side, so that conv5 still has 2x2 of them to normalise over


@dataclass(frozen=True, kw_only=True)
class VggMultiscale(Backbone):
    """Five VGG blocks whose last three are each classified; the classes' scores are summed.

    No statistics are shared between the images of a batch (instance normalisation). Images may
    have any size from 32x32, odd ones too.

    Attributes:
        width: factor on the 32, 64, 128, 256, 256 filters.
        multiscale: classify conv3, conv4 and conv5; false = conv5 alone.
        pool: how a class score map becomes the image's score: its maximum, as in the paper; its
            mean, which every place moves; or their compromise, log-mean-exp (Pinheiro &
            Collobert, 2015).
        dropout: share of the decoder's first and last features that training drops; the
            paper has none, methods that ask how sure the decoder is need some.
    """

    width: Annotated[float, Field(gt=0)] = 1.0
    multiscale: bool = True
    pool: Pool = "max"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def build(self, task: Task) -> nn.Module:
        """A `VggNet` for the task's channels, classes and masks.

        Raises:
            ConfigError: the task's images are smaller than 32x32.
        """
        _refuse_small(*task.size)
        return VggNet(
            channels=task.channels,
            classes=len(task.classes),
            masks=task.mask_channels,
            filters=[max(1, round(count * self.width)) for count in FILTERS],
            classified=BLOCKS[2:] if self.multiscale else BLOCKS[4:],
            pool=self.pool,
            dropout=self.dropout,
        )


class VggNet(nn.Module):
    """Encoder blocks conv1..conv5, a 1x1 class head on each classified block, a decoder.

    The encoder halves the image between blocks: conv3 is a quarter, conv5 a sixteenth of its
    side. The pool that the paper draws after conv5 would feed nothing and is left out.
    """

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        masks: int,
        filters: Sequence[int],
        classified: Sequence[str],
        pool: Pool = "max",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.pool = pool
        inputs = (channels, *filters[:-1])
        shapes = zip(BLOCKS, inputs, filters, LAYERS, strict=True)
        self.encoder = nn.ModuleDict({name: _block(*shape) for name, *shape in shapes})
        self.heads = nn.ModuleDict(
            {name: nn.Conv2d(filters[BLOCKS.index(name)], classes, 1) for name in classified}
        )
        steps = zip(BLOCKS[3::-1], filters[:0:-1], filters[3::-1], strict=True)
        self.decoder = nn.ModuleDict(
            {name: _block(below + skip, skip, 2) for name, below, skip in steps}
        )
        self.dropout = nn.Dropout(dropout)
        self.mask_head = nn.Conv2d(filters[0], masks, 1)
        # Lesions are rare. From 0 the bias takes hundreds of steps to say so, in which the
        # decoder calls every pixel half a lesion; see Lin et al., 2017, section 4.1.
        nn.init.constant_(self.mask_head.bias, log(RARE / (1 - RARE)))  # type: ignore[arg-type]

    def forward(
        self,
        images: Tensor,
        on_features: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]] | None = None,
    ) -> Prediction:
        """Class logits (B,N), mask logits (B,K,H,W) and the classified scales.

        `on_features` changes what the decoder reads, conv1 to conv5; classes stay as they are.
        """
        features = decoded = self._encode(images)
        if on_features is not None:
            changed = on_features(tuple(features.values()))
            decoded = dict(zip(features, changed, strict=True))
        return Prediction(
            class_logits=self._class_logits(features),
            mask_logits=self._decode(decoded),
            scales=tuple(
                Scale(features=features[name], weight=head.get_parameter("weight")[:, :, 0, 0])
                for name, head in self.heads.items()
            ),
        )

    def classify(self, images: Tensor) -> Tensor:
        """Class logits (B,N) alone; the decoder is not run."""
        return self._class_logits(self._encode(images))

    def _encode(self, images: Tensor) -> dict[str, Tensor]:
        _refuse_small(*images.shape[-2:])
        features: dict[str, Tensor] = {}
        x = images
        for name, block in self.encoder.items():
            features[name] = block(F.max_pool2d(x, 2) if features else x)
            x = features[name]
        return features

    def _class_logits(self, features: dict[str, Tensor]) -> Tensor:
        """Sum over scales of each class score map, pooled."""
        scores = [pooled(head(features[name]), self.pool) for name, head in self.heads.items()]
        return torch.stack(scores).sum(dim=0)

    def _decode(self, features: dict[str, Tensor]) -> Tensor:
        x = self.dropout(features[BLOCKS[-1]])
        for name, block in self.decoder.items():
            skip = features[name]
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = block(torch.cat((x, skip), dim=1))
        logits: Tensor = self.mask_head(self.dropout(x))
        return logits


def pooled(scores: Tensor, pool: Pool) -> Tensor:
    """Score maps (B,N,h,w) as scores (B,N).

    >>> maps = torch.tensor([0.0, 0.0, 0.0, 1.0]).reshape(1, 1, 2, 2)
    >>> [round(pooled(maps, pool).item(), 2) for pool in ("mean", "lme", "max")]
    [0.25, 0.73, 1.0]
    """
    if pool == "max":
        return scores.amax(dim=(2, 3))
    if pool == "mean":
        return scores.mean(dim=(2, 3))
    pixels = scores[0, 0].numel()
    return ((SHARPNESS * scores).logsumexp(dim=(2, 3)) - log(pixels)) / SHARPNESS


def _block(inputs: int, outputs: int, layers: int) -> nn.Sequential:
    """3x3 convolution, instance norm, leaky ReLU, `layers` times."""
    stack: list[nn.Module] = []
    for layer in range(layers):
        source = outputs if layer else inputs
        stack += [
            nn.Conv2d(source, outputs, 3, padding=1, bias=False),  # the norm would undo a bias
            nn.InstanceNorm2d(outputs, affine=True),
            nn.LeakyReLU(inplace=True),
        ]
    return nn.Sequential(*stack)


def _refuse_small(height: int, width: int) -> None:
    if min(height, width) < SMALLEST:
        raise ConfigError(
            f"images of {height}x{width} pixels are too small: "
            f"expected at least {SMALLEST}x{SMALLEST}"
        )
