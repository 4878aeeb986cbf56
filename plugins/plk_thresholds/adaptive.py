"""Methods that follow how sure the teacher is: what they remember between batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch.distributed as dist
from pydantic import Field
from torch import Tensor, nn

from plk_thresholds.confidence import ByConfidence, Choice, Target
from pseudolabel_kit.interfaces import Task

Momentum = Annotated[float, Field(ge=0, lt=1)]


class Memory(nn.Module):
    """Moving averages over batches, by name; buffers, so that a checkpoint holds them."""

    def __init__(self, start: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, value in start.items():
            self.register_buffer(name, value)

    def __getitem__(self, name: str) -> Tensor:
        return self.get_buffer(name)

    def follow(self, batch: Mapping[str, Tensor], momentum: float) -> None:
        """m <- momentum * m + (1 - momentum) * this batch's figure."""
        for name, value in batch.items():
            self[name].lerp_(value, 1 - momentum)


@dataclass(frozen=True, kw_only=True)
class Adaptive(ByConfidence):
    """Weighs by what earlier batches showed, then looks at the current one.

    So no row's label depends on another row of its batch; the publications update first.
    Masks and classes have memories of their own. They change while training alone.

    Attributes:
        momentum: how much of a moving average stays at every step.
    """

    momentum: Momentum = 0.999

    @abstractmethod
    def start(self, problems: int, categories: int) -> Mapping[str, Tensor]:
        """What is believed before the first batch: (G,) or (G,C) each."""

    @abstractmethod
    def observe(self, choice: Choice, memory: Memory) -> Mapping[str, Tensor]:
        """The current batch's figures, under the same names, made with `batch_mean`."""

    @abstractmethod
    def weigh_by(self, choice: Choice, memory: Memory) -> Tensor:
        """(B,G,P) in [0, 1]: how much each choice counts."""

    def make_state(self, task: Task) -> nn.Module:
        """A `Memory` for each target."""
        shapes = {"mask": (task.mask_channels, 2), "class": (1, len(task.classes))}
        return nn.ModuleDict(
            {
                target: Memory(self.start(*shape))
                for target, shape in shapes.items()
                if self.targets in (target, "both")
            }
        )

    def memory(self, target: Target) -> Memory:
        """What is remembered of masks, or of classes."""
        assert isinstance(self.state, nn.ModuleDict)
        memory = self.state[target]
        assert isinstance(memory, Memory)
        return memory

    def weigh(self, choice: Choice) -> Tensor:
        """(B,G,P) in [0, 1], by earlier batches; this one is remembered for the next."""
        memory = self.memory(choice.target)
        weight = self.weigh_by(choice, memory)
        if memory.training:
            memory.follow(self.observe(choice, memory), self.momentum)
        return weight


def batch_mean(values: Tensor) -> Tensor:
    """The mean (G,) or (G,C) of (B,G,P) or (B,G,C,P) over the rows of all processes.

    Every process has equally many, so the mean of their means is exact.
    """
    mean = values.mean(dim=(0, -1))
    if processes() > 1:
        dist.all_reduce(mean)
    return mean / processes()


def processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
