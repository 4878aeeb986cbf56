"""Which class an explanation is about."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from pseudolabel_kit.interfaces import Task

Target: TypeAlias = Literal["lesion", "predicted"]


def target_class(target: Target, class_logits: Tensor, task: Task) -> Tensor:
    """(B,) int64: each row's most likely class, among all or those that can hold lesions."""
    if target == "predicted":
        return class_logits.argmax(dim=1)
    lesion = torch.tensor(lesion_classes(task), device=class_logits.device)
    return lesion[class_logits[:, lesion].argmax(dim=1)]


def lesion_classes(task: Task) -> tuple[int, ...]:
    """The classes that can hold lesions: all of them where the task names none."""
    return task.lesion_classes or tuple(range(len(task.classes)))
