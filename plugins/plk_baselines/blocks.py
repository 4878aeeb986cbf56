"""What the baseline networks share."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from torch import nn

from pseudolabel_kit.errors import ConfigError

LEAST = 32  # pixels a side, so that a sixteenth of it still has two to normalise over
RARE = 0.05  # the share of foreground that an untrained mask head answers everywhere


def conv_block(inputs: int, outputs: Sequence[int]) -> nn.Sequential:
    """3x3 convolutions to these numbers of filters, each with batch norm and ReLU.

    Weights are drawn with variance 2 / inputs (He et al., 2015), as U-Net's and SegNet's were.
    """
    stack: list[nn.Module] = []
    for source, target in zip((inputs, *outputs), outputs, strict=False):
        convolution = nn.Conv2d(source, target, 3, padding=1, bias=False)  # the norm undoes one
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        stack += [convolution, nn.BatchNorm2d(target), nn.ReLU(inplace=True)]
    return nn.Sequential(*stack)


def mask_head(inputs: int, masks: int, kernel: int) -> nn.Conv2d:
    """A convolution to mask logits that begins by calling every pixel rarely a lesion.

    From a bias of 0 it takes hundreds of steps to learn that (Lin et al., 2017, section 4.1).
    """
    head = nn.Conv2d(inputs, masks, kernel, padding=kernel // 2)
    nn.init.constant_(head.bias, log(RARE / (1 - RARE)))  # type: ignore[arg-type]
    return head


def scaled(filters: Sequence[int], width: float) -> list[int]:
    """Numbers of filters times a factor, at least one each.

    >>> scaled((64, 128), 0.25)
    [16, 32]
    """
    return [max(1, round(count * width)) for count in filters]


def refuse_small(part: str, size: Sequence[int]) -> None:
    """Refuse images (H,W) whose deepest feature maps would be empty.

    Raises:
        ConfigError: a side is below 32 pixels; names the part.
    """
    if min(size) < LEAST:
        raise ConfigError(
            f"{part}: images of {size[0]}x{size[1]} pixels are too small: "
            f"expected at least {LEAST}x{LEAST}"
        )
