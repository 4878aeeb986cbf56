"""What explainers share: which class a map is about, and how a map becomes evidence in [0, 1]."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from pseudolabel_kit.interfaces import Task

Target: TypeAlias = Literal["lesion", "predicted"]

_CLIP = 0.99  # the share of an image's pixels that stay below full evidence


def target_class(target: Target, class_logits: Tensor, task: Task) -> Tensor:
    """(B,) int64: each row's most likely class, among all or those that can hold lesions."""
    if target == "predicted":
        return class_logits.argmax(dim=1)
    lesion = torch.tensor(lesion_classes(task), device=class_logits.device)
    return lesion[class_logits[:, lesion].argmax(dim=1)]


def lesion_classes(task: Task) -> tuple[int, ...]:
    """The classes that can hold lesions: all of them where the task names none."""
    return task.lesion_classes or tuple(range(len(task.classes)))


def lesion_margin(scores: Tensor, task: Task) -> Tensor:
    """(B,...): log-odds of the classes that can hold lesions against the others.

    Where every class can, they are held against a score of 0.

    Args:
        scores: (B,N,...) class logits, of images or of places.
    """
    lesion = list(lesion_classes(task))
    others = [index for index in range(len(task.classes)) if index not in lesion]
    margin = scores[:, lesion].logsumexp(dim=1)
    return margin - scores[:, others].logsumexp(dim=1) if others else margin


def minmax(maps: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Each image's map (B,1,h,w) scaled to [0, 1] over its own pixels; a flat one is 0."""
    low, high = maps.amin(dim=(2, 3), keepdim=True), maps.amax(dim=(2, 3), keepdim=True)
    return (maps - low) / (high - low + epsilon)


def to_evidence(attribution: Tensor) -> Tensor:
    """Signed attributions (B,C,H,W) as evidence (B,1,H,W) in [0, 1], each image by itself.

    Absolute value, sum over channels, a light smoothing, then scaled so that the 99th
    percentile and all above it is 1. An attribution of zero everywhere stays zero.
    """
    size = smooth(attribution.float().abs().sum(dim=1, keepdim=True))
    flat = size.flatten(1)
    rank = max(1, round(_CLIP * flat.shape[1]))
    top = flat.kthvalue(rank, dim=1).values[:, None, None, None]
    return (size / top.clamp_min(torch.finfo(size.dtype).tiny)).clamp(0, 1)


def smooth(maps: Tensor) -> Tensor:
    """Maps (B,1,H,W) under two 3x3 means (about a Gaussian of 1.2 pixels), edges mirrored.

    Where a side has less than three pixels there is nothing to mirror, and edges are repeated.
    """
    mode = "reflect" if min(maps.shape[-2:]) > 2 else "replicate"
    padded = F.pad(maps, (2, 2, 2, 2), mode=mode)
    return F.avg_pool2d(F.avg_pool2d(padded, 3, stride=1), 3, stride=1)
