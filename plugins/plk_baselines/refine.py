"""What Inf-Net is made of after its encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation  # type: ignore[import-untyped]

from plk_baselines.maps import resized

FIELDS = (3, 5, 7)


def conv(inputs: int, outputs: int, size: int | tuple[int, int] = 3, rate: int = 1) -> nn.Module:
    """Convolution, batch norm, ReLU, at the size of the input."""
    block: nn.Module = Conv2dNormActivation(inputs, outputs, size, dilation=rate)
    return block


class FieldBlock(nn.Module):
    """Receptive field block (Liu et al., 2018): fields of 1, 3, 5 and 7, each dilated as wide."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList([conv(inputs, outputs, 1)])
        for field in FIELDS:
            self.branches.append(
                nn.Sequential(
                    conv(inputs, outputs, 1),
                    conv(outputs, outputs, (1, field)),
                    conv(outputs, outputs, (field, 1)),
                    conv(outputs, outputs, rate=field),
                )
            )
        self.mix = conv(outputs * (1 + len(FIELDS)), outputs)
        self.shortcut = conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B,outputs,h,w)."""
        seen = torch.cat([branch(x) for branch in self.branches], dim=1)
        mixed: Tensor = self.mix(seen) + self.shortcut(x)
        return mixed.relu()


class PartialDecoder(nn.Module):
    """Three maps of one width, the deep ones gating and then joining the shallow (Wu et al., 2019).

    A shallow map is multiplied by every deeper one, so that it counts only where they agree.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates = nn.ModuleList([conv(width, width) for _ in range(3)])
        self.joins = nn.ModuleList([conv(count * width, count * width) for count in (1, 2)])
        self.mixes = nn.ModuleList([conv(count * width, count * width) for count in (2, 3)])

    def forward(self, shallow: Tensor, middle: Tensor, deep: Tensor) -> Tensor:
        """(B,3 width,h,w) at the size of `shallow`."""
        gates = (
            self.gates[0](resized(deep, middle)),
            self.gates[1](resized(deep, shallow)),
            self.gates[2](resized(middle, shallow)),
        )
        x = self.joins[0](resized(deep, middle))
        x = self.mixes[0](torch.cat((middle * gates[0], x), dim=1))
        x = self.joins[1](resized(x, shallow))
        mixed: Tensor = self.mixes[1](torch.cat((shallow * gates[1] * gates[2], x), dim=1))
        return mixed


class ReverseAttention(nn.Module):
    """Adds to a coarser map what features show where that map found nothing."""

    def __init__(self, inputs: int, width: int, masks: int) -> None:
        super().__init__()
        self.correct = nn.Sequential(
            conv(inputs, width, 1),
            conv(width, width),
            conv(width, width),
            nn.Conv2d(width, masks, 1),
        )

    def forward(self, features: Tensor, edge: Tensor, coarser: Tensor) -> Tensor:
        """Logits (B,K,h,w) at the size of features (B,D,h,w), from edges and logits of any size.

        Features are shown where the coarser map found nothing, edges everywhere.
        """
        coarser = resized(coarser, features)
        shown = torch.cat((features * unfound(coarser), resized(edge, features)), dim=1)
        refined: Tensor = coarser + self.correct(shown)
        return refined


def unfound(logits: Tensor) -> Tensor:
    """(B,1,h,w): 1 - sigmoid of mask logits (B,K,h,w), of their largest where there are several.

    >>> unfound(torch.tensor([[[[0.0, 50.0]]]]))
    tensor([[[[0.5000, 0.0000]]]])
    """
    return 1 - logits.amax(dim=1, keepdim=True).sigmoid()
