"""A trained run as a predictor: `load(run)`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric
from pydantic import TypeAdapter
from torch import Tensor, nn

from pseudolabel_kit.config import Config
from pseudolabel_kit.engine import checkpoint
from pseudolabel_kit.engine.checkpoint import BEST, Checkpoint
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.label import Labelled, predict, pseudo_label
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.engine.setup import config_hash, make_fabric, make_model
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.interfaces import Prediction, Task


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A run's model, ready to answer.

    Attributes:
        task: classes, channels and the size (H, W) that images must have.
        step: after how many steps of training the weights were taken.
    """

    config: Config
    task: Task
    method: Method
    model: nn.Module
    fabric: Fabric
    step: int

    def __call__(self, images: Tensor) -> Prediction:
        """Classify and segment images (B,C,H,W) in [0, 1]."""
        with self.fabric.autocast():
            return predict(self.model, images.to(self.fabric.device), self.method, debias=False)

    def label(self, images: Tensor) -> Labelled:
        """What the run would teach of images (B,C,H,W): prediction, evidence, pseudo labels."""
        with self.fabric.autocast():
            moved = images.to(self.fabric.device)
            return pseudo_label(
                self.model, self.method, moved, debias=self.config.loss.debias, explained=True
            )


def load(run: str | Path, *, which: str = "best") -> Predictor:
    """A run's predictor, without its dataset.

    Args:
        run: the run's folder.
        which: "best" on val, or "last". A run that measured no val has only "last".

    Raises:
        RunError: the folder holds no run, or no sound checkpoint.
    """
    folder = RunFolder(Path(run))
    config = folder.config()
    task = _task(folder)
    method = Method.build(config.method)
    model, states = make_model(config, method, task)
    found = _checkpoint(folder, config, which)
    averaged = checkpoint.under("average", found.tensors)
    model.load_state_dict(averaged or checkpoint.under("learner.model", found.tensors))
    states.load_state_dict(checkpoint.under("learner.states", found.tensors))
    fabric = make_fabric(config, devices=1)
    return Predictor(
        config=config,
        task=task,
        method=method,
        model=model.to(fabric.device).eval(),
        fabric=fabric,
        step=found.progress.step,
    )


def _checkpoint(folder: RunFolder, config: Config, which: str) -> Checkpoint:
    best = folder.checkpoints / BEST
    if which == "best" and best.exists():
        return checkpoint.load(best, config_hash(config))
    found = checkpoint.newest(folder.checkpoints, config_hash(config), warn=lambda text: None)
    if found is None:
        raise RunError(f"{folder.path}: holds no checkpoint yet; train it with --resume")
    return found


def _task(folder: RunFolder) -> Task:
    path = folder.path / "provenance.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))["task"]
    except (OSError, ValueError, KeyError):
        raise RunError(f"{path}: cannot be read; expected the file that plk train wrote") from None
    return TypeAdapter(Task).validate_python(fields)
