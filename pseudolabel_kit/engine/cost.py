"""What a run cost: time, throughput, memory, size."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

FILE = "cost.json"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Training alone: what measuring, auditing and drawing cost is left out.

    Attributes:
        seconds: the sum of all steps' times.
        images: rows, labelled and unlabelled, that went through those steps.
        images_per_second: their quotient.
        peak_memory: bytes; on a GPU those that tensors held, else the whole process's, with
            the libraries and whatever the process did before. None where it is not known.
        parameters: of the model that is deployed.
        device: where that was.
    """

    seconds: float
    images: int
    images_per_second: float
    peak_memory: int | None
    parameters: int
    device: str


def cost(steps: Iterable[Mapping[str, Any]], model: nn.Module, fabric: Fabric) -> Cost:
    """The cost of a finished run, from the records of its steps."""
    seconds, images = 0.0, 0
    for record in steps:
        seconds += record["seconds"]
        images += fabric.world_size * sum(record["rows"].values())
    return Cost(
        seconds=seconds,
        images=images,
        images_per_second=images / seconds if seconds else 0.0,
        peak_memory=peak_memory(fabric.device),
        parameters=sum(p.numel() for p in model.parameters()),
        device=device_name(fabric.device),
    )


def peak_memory(device: torch.device) -> int | None:
    """The most memory in bytes that this process has used so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def device_name(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()})"
