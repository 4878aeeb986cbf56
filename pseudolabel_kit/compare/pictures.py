"""What a run's decoder marks on a few images, the same images in every run on the same data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pseudolabel_kit.data.source import open_store
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.predict import load
from pseudolabel_kit.engine.strips import choose
from pseudolabel_kit.interfaces import Batch, Split


def write(run: Path, split: Split) -> None:
    """Write `pictures-<split>.npz` into a run folder: `evaluate.figures` images, lesions first.

    Arrays, in half precision: image (F,C,H,W) in [0, 1]; truth (F,H,W), NaN where not known;
    probability (F,H,W) of any kind of lesion, absent where the model does not segment; and
    their names (F,).

    Raises:
        RunError: the folder holds no run or no sound checkpoint, or it cannot be written.
    """
    predictor = load(run)
    store, splits = open_store(predictor.config.data)
    rows = store.subset(getattr(splits, split))
    chosen = choose(rows, predictor.config.evaluate.figures)
    if not chosen:
        return
    batch = rows.batch(chosen, device=predictor.fabric.device)
    logits = predictor(batch.image).mask_logits
    arrays: dict[str, NDArray[Any]] = {
        "names": np.array([rows.names[position] for position in chosen]),
        "image": _half(batch.image),
        "truth": _truth(batch),
    }
    if logits is not None:
        arrays["probability"] = _half(logits.sigmoid().amax(dim=1))
    RunFolder(run).write_arrays(name(split), arrays)


def name(split: str) -> str:
    """The file that pictures of a split lie in."""
    return f"pictures-{split}.npz"


def _truth(batch: Batch) -> NDArray[np.float16]:
    truth = _half(batch.mask.amax(dim=1))
    truth[~batch.has_mask.cpu().numpy()] = np.nan
    return truth


def _half(tensor: Tensor) -> NDArray[np.float16]:
    return tensor.detach().float().cpu().numpy().astype(np.float16)
