"""Whether a file answers as the network that it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from pseudolabel_kit.errors import RunError
from pseudolabel_kit.export.formats import Pixels, Reader
from pseudolabel_kit.export.graph import Probabilities
from pseudolabel_kit.interfaces import Task

TOLERANCE = 1e-4  # of a probability
# In an image of one grey a normalisation divides rounding errors by a variance of nought, and
# onnxruntime rounds otherwise than torch: up to 5e-4 with random weights, 4e-5 once trained.
BLANK_TOLERANCE = 1e-3


def require_agreement(network: Probabilities, reader: Reader, path: Path) -> float:
    """The largest difference between two answers to the same images, in probability.

    Raises:
        RunError: it is above `TOLERANCE`, in an image of one grey `BLANK_TOLERANCE`; or an
            answer is missing, misshapen or no number.
    """
    largest = 0.0
    for images, tolerance in _images(network.task):
        with torch.no_grad():
            expected = network(torch.from_numpy(images))
        found = reader(images)
        if found.keys() != expected.keys():
            raise RunError(f"{path}: not written: it answers {', '.join(found)}")
        for name, tensor in expected.items():
            mine = tensor.numpy()
            if found[name].shape != mine.shape:
                raise RunError(
                    f"{path}: not written: its {name} has shape {found[name].shape}; "
                    f"expected {mine.shape}"
                )
            gap = float(np.abs(found[name] - mine).max())
            if not gap <= tolerance:  # nor NaN
                raise RunError(
                    f"{path}: not written: its {name} differs by {gap:.2g} from the network's; "
                    f"expected at most {tolerance:g}"
                )
            largest = max(largest, gap)
    return largest


def _images(task: Task) -> Iterator[tuple[Pixels, float]]:
    """Black and white, a ramp, noise, noise of black and white; one by one, and three at once."""
    rng = np.random.default_rng(0)
    shape = (task.channels, *task.size)
    ramp = np.broadcast_to(np.linspace(0, 1, task.size[1]), shape)
    noise = rng.random(shape)
    blank = np.stack([np.zeros(shape), np.ones(shape), np.zeros(shape)]).astype(np.float32)
    content = np.stack([ramp, noise, noise > 0.5]).astype(np.float32)
    for images, tolerance in ((blank, BLANK_TOLERANCE), (content, TOLERANCE)):
        yield from ((images[i : i + 1], tolerance) for i in range(len(images)))
        yield images, tolerance
