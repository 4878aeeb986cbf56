"""The layers that a classifier runs through, and which of them to look at."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from pseudolabel_kit.attribution import ClassScores
from pseudolabel_kit.errors import PluginError, nearest

Shapes = list[tuple[int, ...]]


@torch.no_grad()
def trace(scores: ClassScores, images: Tensor) -> dict[nn.Module, Shapes]:
    """The modules that scoring one image runs, in the order in which they end.

    Each with the shape of its output for every time it ran; () where that is no tensor.
    """
    found: dict[nn.Module, Shapes] = {}

    def note(module: nn.Module, _: object, output: object) -> None:
        shape = tuple(output.shape) if isinstance(output, Tensor) else ()
        found.setdefault(module, []).append(shape)

    with ExitStack() as undo:
        for module in scores.modules():
            undo.callback(module.register_forward_hook(note).remove)
        scores(images[:1])
    return found


def layer_name(scores: ClassScores, images: Tensor, asked: str, part: str, *, classes: int) -> str:
    """The layer's name within `scores`: the one asked for, or "" = the last feature map.

    That is the last module that ends with a map of the deepest scale above one pixel. A map
    with a channel for each class is passed over: it holds scores, not features.

    Raises:
        PluginError: no such layer, or none at all, is run once and gives a map.
    """
    ran = trace(scores, images)
    names = {module: name for name, module in scores.named_modules()}
    once = {names[module]: shapes[0] for module, shapes in ran.items() if len(shapes) == 1}
    maps = {name: shape for name, shape in once.items() if _is_map(shape, images)}
    if asked:
        return _named(maps, asked, part)
    features = {name: h * w for name, (_, d, h, w) in maps.items() if d != classes}
    if not features:
        raise PluginError(
            f"{part}: this classifier runs through no feature map: expected a convolutional "
            f"backbone, such as vgg-multiscale{_offer(maps)}"
        )
    deepest: str = min(reversed(features), key=features.__getitem__)
    return deepest


def _named(maps: Mapping[str, object], asked: str, part: str) -> str:
    name = f"model.{asked}"
    if name not in maps:
        hint = nearest(asked, [known.removeprefix("model.") for known in maps])
        raise PluginError(
            f"{part}: layer={asked} is not a feature map of this classifier{hint}{_offer(maps)}"
        )
    return name


def _is_map(shape: tuple[int, ...], images: Tensor) -> bool:
    """Whether it is (B,D,h,w) of several pixels, in the image's proportions: no tokens."""
    if len(shape) != 4 or shape[2] * shape[3] == 1:
        return False
    height, width = (side / full for side, full in zip(shape[2:], images.shape[2:], strict=True))
    return width / 2 <= height <= 2 * width


def _offer(maps: Mapping[str, object]) -> str:
    """The outermost of these layers, by the names that `layer` takes."""
    inner = {name for name in maps for other in maps if name.startswith(f"{other}.")}
    outer = [name.removeprefix("model.") for name in maps if name not in inner]
    return f"; available: {', '.join(outer)}" if outer else ""
