"""A study, asked and drawn some slices at a time; what the page will hold is all that is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pseudolabel_kit.engine.images import fitted
from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.engine.seeding import seed_everything
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.interfaces import Explainer
from pseudolabel_kit.report import thumbnails
from pseudolabel_kit.viewer import sprites
from pseudolabel_kit.viewer.answers import Answers, answer
from pseudolabel_kit.viewer.layers import Layer, layers
from pseudolabel_kit.viewer.stack import Slice, Stack
from pseudolabel_kit.viewer.told import Told, told

Size = tuple[int, int]
Progress = Callable[[int, int], None]


@dataclass(kw_only=True)
class Drawn:
    """A study as its page holds it.

    Attributes:
        frame: (h,w) in which images are kept; each is stretched to it, and shown in its own shape.
        grid: (H,W) of the maps: the run's own size.
        pictures: the images' sprites.
        slices: the figures of each.
        oriented: whether letters tell the sides of the patient; see `Slice`.
    """

    name: str
    classes: tuple[str, ...]
    frame: Size
    grid: Size
    layers: list[Layer]
    pictures: list[str] = field(default_factory=list)
    slices: list[Told] = field(default_factory=list)
    oriented: bool = False

    def add(self, batch: Sequence[Slice], answers: Answers) -> None:
        """Draw the slices that come next."""
        shown = [sprites.shown(each.image, self.frame) for each in batch]
        self.pictures.append(sprites.encoded(_alike(shown)))
        truths = [_on_grid(each.truth, self.grid) for each in batch]
        planes = _planes(answers, truths, self.grid)
        for layer in self.layers:
            layer.sprites.append(sprites.encoded(planes[layer.name]))
        self.slices += [told(answers, i, each, truths[i]) for i, each in enumerate(batch)]


def drawn(
    predictor: Predictor,
    explainers: Mapping[str, Explainer],
    stack: Stack,
    progress: Progress = lambda done, total: None,
) -> Drawn:
    """Ask a run about every slice of a study, and draw what it answers.

    Args:
        progress: told (slices done, slices in all).

    Raises:
        DataError: the study cannot be read, or does not suit the run.
        PluginError: a part fails; it is named.
    """
    found: Drawn | None = None
    (count, slices), task, done = stack.slices(), predictor.task, 0
    while batch := list(islice(slices, sprites.EACH)):
        seed_everything(predictor.config.train.seed, "explain", done)
        images = [
            fitted(each.image, task, f"{stack.name}, slice {number}")
            for number, each in enumerate(batch, done + 1)
        ]
        answers = answer(predictor, explainers, torch.from_numpy(np.stack(images)))
        found = found or _begun(stack, predictor, batch, answers)
        found.add(batch, answers)
        progress(done := done + len(batch), count)
    if found is None:
        raise DataError(f"{stack.name}: holds no slices")
    return found


def _begun(stack: Stack, predictor: Predictor, batch: Sequence[Slice], answers: Answers) -> Drawn:
    task = predictor.task
    return Drawn(
        name=stack.name,
        classes=task.classes if answers.probabilities is not None else (),
        frame=sprites.frame(*batch[0].image.shape[1:]),
        grid=task.size,
        oriented=all(each.oriented for each in batch),
        layers=layers(
            list(answers.evidence),
            masks=answers.marked is not None,
            label=answers.label is not None,
            truth=stack.truth,
        ),
    )


def _planes(
    answers: Answers, truths: Sequence[NDArray[np.bool_] | None], grid: Size
) -> dict[str, sprites.Bytes]:
    """Every layer's plane of each slice, by the layer's name."""
    found = {f"evidence/{name}": sprites.stepped(m) for name, m in answers.evidence.items()}
    maps = {"decoder": answers.decoder, "label": answers.label}
    found |= {name: sprites.stepped(m) for name, m in maps.items() if m is not None}
    if answers.marked is not None:
        found["mask"] = sprites.stepped(answers.marked)
    unknown = np.zeros(grid, dtype=bool)
    truth = np.stack([unknown if each is None else each for each in truths])
    return found | {"truth": sprites.stepped(truth)}


def _on_grid(mask: NDArray[np.bool_] | None, grid: Size) -> NDArray[np.bool_] | None:
    if mask is None:
        return None
    return thumbnails.fitted(mask, grid, Image.Resampling.NEAREST) >= 0.5


def _alike(images: Sequence[sprites.Bytes]) -> sprites.Bytes:
    """Images (H,W,1|3) as one array: grey ones among coloured ones are repeated."""
    channels = max(image.shape[-1] for image in images)
    stacked = np.stack([np.repeat(image, channels // image.shape[-1], axis=-1) for image in images])
    return stacked[..., 0] if channels == 1 else stacked
