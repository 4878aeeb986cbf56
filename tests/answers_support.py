"""A predictor that marks what is bright, so that its masks are known; and studies for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from pseudolabel_kit.answers.scanner import Scanner
from pseudolabel_kit.config import Config
from pseudolabel_kit.interfaces import Prediction, Task
from pseudolabel_kit.scans.inputs import DEFAULTS
from pseudolabel_kit.scans.scan import Scan
from pseudolabel_kit.scans.study import Settings
from pseudolabel_kit.scans.window import Window

HALF = Window(0, 200)  # black at -100, white at 100


class Threshold:
    """Lesion where grey is above one half; an image's class is lesion by its share of it."""

    def __init__(self, side: int = 32, *, classes: Sequence[str] = ("lesion", "healthy")) -> None:
        self.task = Task(channels=1, size=(side, side), classes=tuple(classes), lesion_classes=(0,))
        self.config = Config()
        self.model = torch.nn.Linear(1, 1)
        self.model.requires_grad_(False).weight.fill_(1)
        self.model.bias.zero_()
        self.step = 7
        self.seen: list[Tensor] = []

    def __call__(self, images: Tensor) -> Prediction:
        assert images.shape[1:] == (1, *self.task.size)
        self.seen.append(images)
        lesion = (images > 0.5).float().mean(dim=(1, 2, 3))
        return Prediction(
            class_logits=torch.stack([lesion, 1 - lesion], dim=1).clamp(1e-6).log(),
            mask_logits=(images - 0.5) * 20,
            scales=(),
        )


def scanner(side: int = 32, settings: Settings | None = None, **more: Any) -> Scanner:
    """A scanner that marks what is above 0 HU."""
    predictor: Any = more.pop("predictor", None) or Threshold(side)
    chosen = settings or replace(DEFAULTS, size=side, window=HALF, spacing=(2, 2, 2))
    return Scanner(predictor=predictor, settings=chosen, **more)


def volume(path: Path, image: sitk.Image, **masks: Path) -> Scan:
    """A study of a volume that is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    name = path.name.partition(".")[0]
    return Scan(name=name, patient=name, source=path.parent, image=path, **masks)


def ball(
    size: tuple[int, int, int] = (24, 20, 8), *, radius: float = 12, spacing: Any = (2, 2, 4)
) -> sitk.Image:
    """A ball of 90 HU in air of -90 HU; radius in mm."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), axis=-1)
    centre = (np.array(size) - 1) / 2
    apart = np.linalg.norm((grid - centre) * spacing, axis=-1)
    values = np.where(apart < radius, 90, -90).astype(np.int16)
    image = sitk.GetImageFromArray(values.transpose(2, 1, 0))
    image.SetSpacing([float(s) for s in spacing])
    image.SetOrigin((-20.0, 30.0, 40.0))
    return image
