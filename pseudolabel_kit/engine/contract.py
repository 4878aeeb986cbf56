"""What parts may give: types, shapes and ranges, checked as it passes through a run.

Shapes and types cost nothing; the ends of all values of one answer are brought from the
device together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from pseudolabel_kit.interfaces import Batch, LossTerm, Prediction, PseudoLabels, Task, View
from pseudolabel_kit.plugin.blame import RefusedError

SLACK = 1e-4  # beyond a range, for what rounding does; of low precision, one of its steps
ROWS_SLACK = 1e-3  # of class probabilities, that their sum is 1
LARGEST = 1e18  # of scores: the square of a larger one is infinite in float32
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Range:
    """A tensor whose values must be finite and lie from `low` to `high`, give or take `slack`."""

    name: str
    values: Tensor
    low: float
    high: float
    slack: float = SLACK

    def holds(self, least: float, most: float) -> bool:
        """Whether these ends are within; NaN is not."""
        slack = self.slack and max(self.slack, torch.finfo(self.values.dtype).eps)
        within = self.low - slack <= least and most <= self.high + slack
        return within and math.isfinite(least) and math.isfinite(most)

    def refusal(self, least: float, most: float) -> RefusedError:
        """What is wrong, in words."""
        nan, infinite = (int(test(self.values).sum()) for test in (torch.isnan, torch.isinf))
        found = f"with values from {least:.4g} to {most:.4g}"
        if nan or infinite:
            kinds = (f"{nan} NaN" if nan else "", f"{infinite} infinite" if infinite else "")
            found = f"with {' and '.join(filter(None, kinds))} of {self.values.numel()} values"
        return RefusedError(f"{self.name} {found}: expected {self._expected}")

    @property
    def _expected(self) -> str:
        if math.isfinite(self.high):
            same = self.low == self.high
            return f"{self.low:g}" if same else f"values in [{self.low:g}, {self.high:g}]"
        return "finite values" if self.low < 0 else "finite values of 0 or more"


def require(*ranges: Range) -> None:
    """Refuse values out of range.

    Raises:
        RefusedError: with what was found, and what was expected.
    """
    if not ranges:
        return
    ends = torch.stack([end.float() for r in ranges for end in r.values.detach().aminmax()])
    found = ends.tolist()
    for each, least, most in zip(ranges, found[::2], found[1::2], strict=True):
        if not each.holds(least, most):
            raise each.refusal(least, most)


def tensor(found: object, name: str, *shapes: Shape, device: torch.device | None = None) -> Tensor:
    """A tensor of floating point numbers that has one of these shapes, on this device.

    Raises:
        RefusedError: it is something else.
    """
    expected = " or ".join(map(str, dict.fromkeys(shapes)))
    if not isinstance(found, Tensor):
        raise RefusedError(f"{name} as {_kind(found)}: expected a tensor {expected}")
    if tuple(found.shape) not in shapes:
        raise RefusedError(f"{name} of shape {tuple(found.shape)}: expected {expected}")
    if not found.is_floating_point():
        raise RefusedError(f"{name} of {found.dtype}: expected floating point numbers")
    if device is not None and found.device != device:
        raise RefusedError(f"{name} on {found.device}: expected it on {device}")
    return found


def head_shapes(task: Task, rows: int, *size: int) -> dict[str, Shape]:
    """What the logits of a model's heads are like; one of the two may be missing."""
    return {
        "class_logits": (rows, len(task.classes)),
        "mask_logits": (rows, task.mask_channels, *size),
    }


def label_limits(task: Task, rows: int, *size: int) -> dict[str, tuple[Shape, float]]:
    """The shape and the greatest value of what pseudo labels hold; the least is 0."""
    return {
        "mask": ((rows, task.mask_channels, *size), 1.0),
        "mask_weight": ((rows, 1, *size), math.inf),
        "label": ((rows, len(task.classes)), 1.0),
        "label_weight": ((rows,), math.inf),
    }


def prediction(found: object, images: Tensor, task: Task) -> Prediction:
    """A model's answer to images (B,C,H,W); its values are looked at by `scores`."""
    if not isinstance(found, Prediction):
        raise RefusedError(f"{_kind(found)}: expected a Prediction")
    rows, _, *size = images.shape
    shapes = head_shapes(task, rows, *size)
    heads = {name: head for name in shapes if (head := getattr(found, name)) is not None}
    if not heads:
        raise RefusedError("a Prediction without class_logits and mask_logits: expected either")
    for name, head in heads.items():
        tensor(head, name, shapes[name])
    return found


def scores(answer: Prediction) -> list[Range]:
    """The ranges that a model's answer must keep."""
    heads = {"class_logits": answer.class_logits, "mask_logits": answer.mask_logits}
    return [Range(n, head, -LARGEST, LARGEST) for n, head in heads.items() if head is not None]


def feature_maps(maps: Sequence[Tensor]) -> list[Range]:
    """The ranges that feature maps must keep."""
    return [Range("feature maps", each, -math.inf, math.inf) for each in maps]


def evidence(found: object, images: Tensor, mask_channels: int) -> Tensor:
    """An explainer's map of images (B,C,H,W), detached."""
    rows, _, *size = images.shape
    shapes = (rows, 1, *size), (rows, mask_channels, *size)
    map_ = tensor(found, "evidence", *shapes, device=images.device)
    require(Range("evidence", map_, 0, 1))
    return map_.detach()


def pseudo_labels(found: object, images: Tensor, task: Task) -> PseudoLabels:
    """What a fuser would teach of images (B,C,H,W)."""
    ranges = label_ranges(found, images, task)
    require(*ranges)
    assert isinstance(found, PseudoLabels)
    return found


def label_ranges(found: object, images: Tensor, task: Task) -> list[Range]:
    """The ranges that pseudo labels must keep; types, shapes and pairs are checked here."""
    if not isinstance(found, PseudoLabels):
        raise RefusedError(f"{_kind(found)}: expected PseudoLabels")
    rows, _, *size = images.shape
    expected = label_limits(task, rows, *size)
    for name in ("mask", "label"):
        pair = (getattr(found, name), getattr(found, f"{name}_weight"))
        if (pair[0] is None) is not (pair[1] is None):
            given, missing = (name, f"{name}_weight")[:: 1 if pair[1] is None else -1]
            raise RefusedError(f"{given} without {missing}: expected both or neither")
    ranges = []
    for field in fields(found):
        value = getattr(found, field.name)
        if value is None:
            continue
        shape, most = expected[field.name]
        if tensor(value, field.name, shape, device=images.device).requires_grad:
            raise RefusedError(f"{field.name} that carries gradients: expected it detached")
        ranges.append(Range(field.name, value, 0, most))
    if found.label is not None:
        ranges.append(Range("the rows' sums of label", found.label.sum(dim=1), 1, 1, ROWS_SLACK))
    return ranges


def loss_terms(found: object, rows: int) -> dict[str, LossTerm]:
    """Terms by name, of so many rows."""
    if not isinstance(found, Mapping):
        raise RefusedError(f"{_kind(found)}: expected a mapping from names to LossTerm")
    ranges = []
    for name, term in found.items():
        if not isinstance(name, str) or not isinstance(term, LossTerm):
            raise RefusedError(f"{name!r}: {_kind(term)}: expected a LossTerm by its name")
        total, count = (
            tensor(getattr(term, what), f"'{name}' with a {what}", (rows,))
            for what in ("total", "count")
        )
        uncounted = total.detach().where(count == 0, 0)
        ranges += [
            Range(f"'{name}' with a total", total, -math.inf, math.inf),
            Range(f"'{name}' with a count", count, 0, math.inf, slack=0),
            Range(f"'{name}' with a total of rows that count 0,", uncounted, 0, 0, slack=0),
        ]
    require(*ranges)
    return dict(found)


def views(found: object, given: View, task: Task) -> list[View]:
    """The views that a perturbation made of one: the same rows, as images, with their labels."""
    if not isinstance(found, Sequence) or not all(isinstance(view, View) for view in found):
        raise RefusedError(f"{_kind(found)}: expected a sequence of View")
    if not found:
        raise RefusedError("no view: expected at least one")
    ranges = []
    for view in found:
        ranges += batch_ranges(view.batch, given.batch, task)
        ranges += label_ranges(view.pseudo, given.batch.image, task)
    require(*ranges)
    return list(found)


def batch_ranges(found: object, given: Batch, task: Task) -> list[Range]:
    """The ranges that rows must keep which were made of given ones; types and shapes, too.

    What is known of a row may be moved with its pixels or forgotten, but not be made up.
    """
    if not isinstance(found, Batch):
        raise RefusedError(f"batch as {_kind(found)}: expected a Batch")
    image = given.image
    shown = tensor(found.image, "image", tuple(image.shape), device=image.device)
    if torch.promote_types(shown.dtype, image.dtype) != image.dtype:
        raise RefusedError(f"image of {shown.dtype}: expected {image.dtype}")
    ranges = [Range("image", shown, 0, 1)]
    for name, most in (("label", len(task.classes) - 1), ("mask", 1)):
        flag = f"has_{name}"
        values, known = _as_given(found, given, name), _as_given(found, given, flag)
        if values is not getattr(given, name):
            rows = known.view(-1, *[1] * (values.dim() - 1))
            ranges.append(Range(f"{name} of known rows", values.where(rows, 0).float(), 0, most))
        if known is not getattr(given, flag):
            risen = (known & ~getattr(given, flag)).float()
            ranges.append(Range(f"{flag} of rows that had none,", risen, 0, 0))
    if found.region is not None and found.region is not given.region:
        shape = (len(image), 1, *image.shape[2:])
        region = tensor(found.region, "region", shape, device=image.device)
        ranges.append(Range("region", region, 0, 1))
    return ranges


def _as_given(found: Batch, given: Batch, name: str) -> Tensor:
    """A tensor of a batch, which must be like the given one."""
    value, like = getattr(found, name), getattr(given, name)
    if not isinstance(value, Tensor):
        raise RefusedError(f"{name} as {_kind(value)}: expected a tensor {tuple(like.shape)}")
    if value.shape != like.shape:
        raise RefusedError(f"{name} of shape {tuple(value.shape)}: expected {tuple(like.shape)}")
    if (value.dtype, value.device) != (like.dtype, like.device):
        is_, was = (f"{each.dtype} on {each.device}" for each in (value, like))
        raise RefusedError(f"{name} of {is_}: expected {was}")
    return value


def _kind(found: object) -> str:
    return "None" if found is None else f"a {type(found).__name__}"
