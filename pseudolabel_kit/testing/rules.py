"""What a sound answer looks like: the engine's contract, in words for who must mend the part.

Stricter in two things that a run forgives: answers are float32, and come detached.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pseudolabel_kit.engine.contract import ROWS_SLACK, SLACK, label_limits
from pseudolabel_kit.interfaces import LossTerm, PseudoLabels, Scale, Task
from pseudolabel_kit.testing.fault import ConformanceError, require


def tensor(name: str, found: object, shape: tuple[int, ...], *more: tuple[int, ...]) -> Tensor:
    """A float32 tensor of one of the shapes, finite and detached.

    Raises:
        ConformanceError: it is not; with what it is.
    """
    shapes = " or ".join(map(str, dict.fromkeys((shape, *more))))
    if not isinstance(found, Tensor):
        raise ConformanceError(f"{name} is a {type(found).__name__}", f"return a tensor {shapes}")
    require(
        tuple(found.shape) in (shape, *more),
        f"{name} has shape {tuple(found.shape)}, expected {shapes}",
        "keep the axes (rows, channels, height, width), also where one of them is 1",
    )
    require(
        found.dtype == torch.float32,
        f"{name} is {found.dtype}, expected torch.float32",
        "compute in float32: begin with logits.float(), end with .float()",
    )
    bad = int((~found.isfinite()).sum())
    require(
        bad == 0,
        f"{name} has {bad} of {found.numel()} values NaN or infinite",
        "guard divisions and logarithms by clamp_min, also for images that are flat",
    )
    require(
        not found.requires_grad,
        f"{name} carries gradients",
        "detach it: what a label or a map says is not to be learned through",
    )
    return found


def within(name: str, found: Tensor, low: float, high: float = torch.inf) -> None:
    """Every value in [low, high].

    Raises:
        ConformanceError: one is not; with the range that was found.
    """
    if not found.numel():
        return
    least, most = found.aminmax()
    expected = f"in [{low:g}, {high:g}]" if high < torch.inf else f"at least {low:g}"
    require(
        low - SLACK <= float(least) and float(most) <= high + SLACK,
        f"{name} lies in [{float(least):.4g}, {float(most):.4g}], expected {expected}",
        "normalise it, then clamp what is left outside: x.clamp(0, 1)"
        if high < torch.inf
        else "clamp it: x.clamp_min(0)",
    )


def evidence(found: object, rows: int, task: Task) -> None:
    """(B,1,H,W) or (B,K,H,W) in [0, 1]."""
    shapes = [(rows, channels, *task.size) for channels in (1, task.mask_channels)]
    within("the evidence", tensor("the evidence", found, *shapes), 0, 1)


def pseudo_labels(found: object, rows: int, task: Task) -> None:
    """Masks and classes in [0, 1], each with a weight of 0 or more."""
    if not isinstance(found, PseudoLabels):
        raise ConformanceError(
            f"pseudo labels are a {type(found).__name__}",
            "return PseudoLabels(mask=..., mask_weight=...)",
        )
    for one, other in (("mask", "mask_weight"), ("label", "label_weight")):
        missing = [name for name in (one, other) if getattr(found, name) is None]
        require(
            len(missing) != 1,
            f"of {one} and {other} one is None: {', '.join(missing)}",
            "give both or neither; torch.ones_like(mask[:, :1]) weighs every pixel alike",
        )
    for name, (shape, most) in label_limits(task, rows, *task.size).items():
        if (value := getattr(found, name)) is not None:
            within(name, tensor(name, value, shape), 0, most)
    if found.label is not None:
        off = float((found.label.sum(dim=1) - 1).abs().amax())
        require(
            off < ROWS_SLACK,
            f"rows of label sum to 1 ± {off:.2g}",
            "give class probabilities, as softmax",
        )


def scale(name: str, found: Scale, rows: int, task: Task) -> None:
    """`features` (B,D,h,w) and the `weight` (N,D) of the linear head that classifies them."""
    shape, expected = tuple(found.features.shape), (len(task.classes), *found.features.shape[1:2])
    require(
        len(shape) == 4 and shape[0] == rows,
        f"{name}.features has shape {shape}, expected (B,D,h,w)",
        "give the feature map that the linear head classifies",
    )
    require(
        tuple(found.weight.shape) == expected,
        f"{name}.weight has shape {tuple(found.weight.shape)}, expected {expected}",
        "give the head's weight (N,D), without its bias",
    )


def terms(call: str, found: object, rows: int) -> dict[str, LossTerm]:
    """Named loss terms: sums over rows with the counts that they are to be divided by."""
    if not isinstance(found, Mapping):
        raise ConformanceError(
            f"{call} returned a {type(found).__name__}",
            'return a mapping of LossTerm by name: {"mask": LossTerm(total=..., count=...)}',
        )
    for name, each in found.items():
        term(f"{call} '{name}'", each, rows)
    return dict(found)


def term(name: str, found: object, rows: int) -> LossTerm:
    """`total` (B,) finite; `count` (B,) finite, not negative, detached."""
    if not isinstance(found, LossTerm):
        raise ConformanceError(
            f"{name} is a {type(found).__name__}", "return LossTerm(total=..., count=...)"
        )
    shapes = tuple(found.total.shape), tuple(found.count.shape)
    require(
        shapes == ((rows,), (rows,)),
        f"{name} has total {shapes[0]} and count {shapes[1]}, expected ({rows},) twice",
        "keep one sum and one count for each row: mean over dim=(1, 2, 3), not over the rows",
    )
    require(
        bool(found.total.isfinite().all()),
        f"{name} is NaN or infinite",
        "guard logarithms: use F.logsigmoid(logits) in place of sigmoid(logits).log()",
    )
    require(
        not found.count.requires_grad, f"the count of {name} carries gradients", "detach the count"
    )
    within(f"the count of {name}", found.count.detach(), 0)
    return found
