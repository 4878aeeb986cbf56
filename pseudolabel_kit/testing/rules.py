"""What a sound answer looks like: shapes, types and ranges, by the contract."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pseudolabel_kit.interfaces import LossTerm, PseudoLabels, Task
from pseudolabel_kit.testing.fault import require


def tensor(name: str, found: object, shape: tuple[int, ...], *more: tuple[int, ...]) -> Tensor:
    """A float32 tensor of one of the shapes, finite and detached.

    Raises:
        FaultError: it is not; with what it is.
    """
    shapes = " or ".join(map(str, dict.fromkeys((shape, *more))))
    assert_tensor = isinstance(found, Tensor)
    require(assert_tensor, f"{name} is a {type(found).__name__}", f"return a tensor {shapes}")
    assert isinstance(found, Tensor)
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
        FaultError: one is not; with the range that was found.
    """
    if not found.numel():
        return
    least, most = found.aminmax()
    expected = f"in [{low:g}, {high:g}]" if high < torch.inf else f"at least {low:g}"
    require(
        low <= float(least) and float(most) <= high,
        f"{name} lies in [{float(least):.4g}, {float(most):.4g}], expected {expected}",
        "normalise it, then clamp what rounding leaves outside",
    )


def evidence(found: object, rows: int, task: Task) -> None:
    """(B,1,H,W) or (B,K,H,W) in [0, 1]."""
    shapes = [(rows, channels, *task.size) for channels in (1, task.mask_channels)]
    within("the evidence", tensor("the evidence", found, *shapes), 0, 1)


def pseudo_labels(found: object, rows: int, task: Task) -> None:
    """Masks and classes in [0, 1], each with a weight of 0 or more."""
    require(
        isinstance(found, PseudoLabels),
        f"fuse returned a {type(found).__name__}",
        "return PseudoLabels(mask=..., mask_weight=...)",
    )
    assert isinstance(found, PseudoLabels)
    shapes: Mapping[str, tuple[int, ...]] = {
        "mask": (rows, task.mask_channels, *task.size),
        "mask_weight": (rows, 1, *task.size),
        "label": (rows, len(task.classes)),
        "label_weight": (rows,),
    }
    for one, other in (("mask", "mask_weight"), ("label", "label_weight")):
        require(
            (getattr(found, one) is None) == (getattr(found, other) is None),
            f"of {one} and {other} one is None",
            "give both or neither: a target without a weight teaches nothing",
        )
    for name, shape in shapes.items():
        if (value := getattr(found, name)) is not None:
            top = torch.inf if name.endswith("weight") else 1.0
            within(name, tensor(name, value, shape), 0, top)
    if found.label is not None:
        off = float((found.label.sum(dim=1) - 1).abs().amax())
        require(
            off < 1e-3,
            f"rows of label sum to 1 ± {off:.2g}",
            "give class probabilities, as softmax",
        )


def terms(call: str, found: object) -> dict[str, LossTerm]:
    """Named loss terms: sums over rows with the counts that they are to be divided by."""
    require(
        isinstance(found, Mapping) and all(isinstance(t, LossTerm) for t in found.values()),
        f"{call} returned {found!r:.80}",
        'return a mapping of LossTerm by name: {"mask": LossTerm(total=..., count=...)}',
    )
    assert isinstance(found, Mapping)
    for name, each in found.items():
        term(f"{call} '{name}'", each)
    return dict(found)


def term(name: str, found: LossTerm) -> None:
    """`total` (B,) finite; `count` (B,) finite, not negative, detached."""
    require(
        found.total.ndim == 1 and found.total.shape == found.count.shape,
        f"{name} has total {tuple(found.total.shape)} and count {tuple(found.count.shape)}",
        "keep one sum and one count for each row: both (B,)",
    )
    require(
        bool(found.total.isfinite().all()),
        f"{name} is not finite",
        "guard logarithms: use logits with F.logsigmoid in place of log(sigmoid)",
    )
    require(
        not found.count.requires_grad, f"the count of {name} carries gradients", "detach the count"
    )
    within(f"the count of {name}", found.count.detach(), 0)
