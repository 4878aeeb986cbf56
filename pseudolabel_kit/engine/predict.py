"""A trained run as a predictor: `load(run)`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from pseudolabel_kit.config import Config
from pseudolabel_kit.data.readers import scale_pixels
from pseudolabel_kit.engine import checkpoint, provenance
from pseudolabel_kit.engine.checkpoint import BEST, Checkpoint, DamagedError
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.guard import Failed, warn_of
from pseudolabel_kit.engine.images import fit_image, open_image, warn_of_regions
from pseudolabel_kit.engine.label import Labelled, explain, predict, pseudo_label
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.engine.reading import ImageReading, readings
from pseudolabel_kit.engine.setup import make_fabric, make_model
from pseudolabel_kit.errors import DataError, RunError
from pseudolabel_kit.interfaces import Evidence, Prediction, Task
from pseudolabel_kit.isolate import isolated


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A run's model, ready to answer.

    Attributes:
        task: classes, channels and the size (H, W) that images must have.
        step: after how many steps of training the weights were taken.
        imported: how the run's data were made of scans, as `scans.inputs.settings_for` reads it;
            None where they were not.
    """

    config: Config
    task: Task
    method: Method
    model: nn.Module
    fabric: Fabric
    step: int
    imported: Mapping[str, Any] | None

    @property
    def padded(self) -> bool:
        """Whether images that are not square are padded with black, as an import does."""
        return self.imported is not None

    def __call__(self, images: Tensor) -> Prediction:
        """Classify and segment images (B,C,H,W) in [0, 1].

        Raises:
            DataError: they do not have the channels and the size of the task.
        """
        with self.fabric.autocast():
            return predict(self.model, self._moved(images), self.method, debias=False)

    def read(self, image: str | PathLike[str] | NDArray[Any]) -> ImageReading:
        """The answer to one image of any size, in that size: the numbers of `plk predict`.

        Args:
            image: a PNG, JPEG, TIFF or NPY file; or pixels (h,w), (h,w,1) or (h,w,3): uint8,
                uint16 or float in [0, 1].

        Raises:
            DataError: it cannot be read, or does not suit the run.
        """
        warn_of_regions(self.config.data)
        if isinstance(image, np.ndarray):
            pixels = scale_pixels(image, "the image")
            opened = fit_image(Path("the image"), pixels, self.task, padded=self.padded)
        else:
            opened = open_image(Path(image), self.task, padded=self.padded)
        prediction = self(torch.from_numpy(opened.fitted[None]))
        return readings(prediction, self.task, [opened])[0]

    def explain(self, images: Tensor) -> tuple[Prediction, Mapping[str, Evidence]]:
        """The answer to images (B,C,H,W), and each explainer's evidence for it by reference.

        Of a run that isolates errors, explainers that fail are warned of and left out.
        """
        moved = self._moved(images)
        with self.fabric.autocast(), isolated(self.model), self._spared() as failed:
            prediction = predict(self.model, moved, self.method, debias=False)
            chosen = self.method.explainers
            return prediction, explain(self.model, chosen, moved, prediction, failed)

    def label(self, images: Tensor) -> Labelled:
        """What the run would teach of images (B,C,H,W): prediction, evidence, pseudo labels."""
        moved, debias = self._moved(images), self.config.loss.debias
        with self.fabric.autocast(), self._spared() as failed:
            return pseudo_label(
                self.model, self.method, moved, debias=debias, explained=True, failed=failed
            )

    @contextmanager
    def _spared(self) -> Iterator[Failed | None]:
        """Where failures of explainers are noted, to be warned of; None where they stop it."""
        failed: Failed = {}
        yield failed if self.config.train.isolate_errors == "warn" else None
        warn_of(failed)

    def _moved(self, images: Tensor) -> Tensor:
        expected = (self.task.channels, *self.task.size)
        if tuple(images.shape[1:]) != expected:
            sides = ", ".join(map(str, expected))
            raise DataError(f"images have shape {tuple(images.shape)}; expected (B, {sides})")
        return images.to(self.fabric.device)


def load(run: str | PathLike[str], *, which: str = "best") -> Predictor:
    """A run's predictor, without its dataset.

    Args:
        run: the run, or its folder.
        which: "best" on val, "last", or a step that has a checkpoint, "400". A run that
            measured no val has no best: the last is taken.

    Raises:
        RunError: the folder holds no run, or no sound checkpoint.
    """
    folder = RunFolder(Path(run))
    config = folder.config()
    origin = provenance.read(folder)
    task = provenance.task(origin)
    method = Method.build(config.method)
    model, states = make_model(config, method, task)
    found = _checkpoint(folder, which)
    averaged = checkpoint.under("average", found.tensors)
    try:
        model.load_state_dict(averaged or checkpoint.under("learner.model", found.tensors))
        states.load_state_dict(checkpoint.under("learner.states", found.tensors))
    except RuntimeError:
        raise RunError(
            f"{folder.path}: its weights do not fit the network that {config.method.backbone} "
            "builds now; expected the versions that provenance.json names"
        ) from None
    fabric = _fabric(config)
    states.to(fabric.device).eval()  # what a part remembers of training stays as it was
    return Predictor(
        config=config,
        task=task,
        method=method,
        model=model.to(fabric.device).eval(),
        fabric=fabric,
        step=found.progress.step,
        imported=origin.get("imported"),
    )


def _checkpoint(folder: RunFolder, which: str) -> Checkpoint:
    best = folder.checkpoints / BEST
    if which == "best" and best.exists():
        try:
            return checkpoint.load(best, folder.config_hash())
        except DamagedError as error:
            raise RunError(f"{error}; the last weights may be whole: --checkpoint last") from None
    if which.isdigit():
        return checkpoint.load(_of_step(folder, int(which)), folder.config_hash())
    found = checkpoint.newest(folder.checkpoints, folder.config_hash(), warn=warnings.warn)
    if found is None:
        raise RunError(f"{folder.path}: holds no checkpoint yet; train it with --resume")
    return found


def _of_step(folder: RunFolder, step: int) -> Path:
    if step not in (known := checkpoint.steps(folder.checkpoints)):
        raise RunError(
            f"{folder.path}: holds no checkpoint of step {step}; "
            f"expected one of {', '.join(map(str, known)) or 'none: it holds no checkpoint yet'}"
        )
    return checkpoint.step_path(folder.checkpoints, step)


def _fabric(config: Config) -> Fabric:
    """The device that the run asks for, or the CPU: a run outlives the machine it came from."""
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if here.get(config.train.accelerator, True):
        return make_fabric(config, devices=1)
    train = config.train.model_copy(update={"accelerator": "cpu"})
    return make_fabric(config.model_copy(update={"train": train}), devices=1)
