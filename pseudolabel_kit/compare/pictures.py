"""What a run's decoder marks on a few images, the same images in every run on the same data."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pseudolabel_kit.data.source import open_store
from pseudolabel_kit.data.store import Subset
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.predict import Predictor, load
from pseudolabel_kit.engine.strips import choose
from pseudolabel_kit.interfaces import Batch, Split


def write(run: Path, split: Split) -> None:
    """Write `pictures-<split>.npz` into a run folder: `evaluate.figures` images, lesions first.

    Arrays, in half precision: image (F,C,H,W) in [0, 1]; truth (F,H,W), NaN where not known;
    probability (F,H,W) of any kind of lesion, absent where the model does not segment, on the
    side of 0.5 that it was measured on; and names (F,), the same for the same image, which do
    not tell whom it is of. Without images the file holds no array.

    Raises:
        RunError: the folder holds no run or no sound checkpoint, or it cannot be written.
    """
    predictor = load(run)
    store, splits = open_store(predictor.config.data)
    rows = store.subset(getattr(splits, split), implied=False)
    chosen = choose(rows, predictor.config.evaluate.figures)
    arrays = _arrays(predictor, rows, chosen) if chosen else {}
    RunFolder(run).write_arrays(name(split), arrays)


def name(split: str) -> str:
    """The file that pictures of a split lie in."""
    return f"pictures-{split}.npz"


def _arrays(predictor: Predictor, rows: Subset, chosen: list[int]) -> dict[str, NDArray[Any]]:
    batch = rows.batch(chosen, device=predictor.fabric.device)
    logits = predictor(batch.image).mask_logits
    arrays: dict[str, NDArray[Any]] = {
        "names": np.array([_unnamed(rows.names[position]) for position in chosen]),
        "image": _half(batch.image),
        "truth": _truth(batch),
    }
    if logits is not None:
        highest = logits.amax(dim=1)
        arrays["probability"] = decided(highest.sigmoid(), highest >= 0)
    return arrays


def _unnamed(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def _truth(batch: Batch) -> NDArray[np.float16]:
    mask = batch.mask.amax(dim=1)
    truth = decided(mask, mask > 0.5)
    truth[~batch.has_mask.cpu().numpy()] = np.nan
    return truth


def decided(values: Tensor, lesion: Tensor) -> NDArray[np.float16]:
    """Values in half precision that are at least 0.5 just where `lesion` says so.

    Rounding alone would lift 0.49999 to 0.5.
    """
    half, border = _half(values), np.float16(0.5)
    below = np.minimum(half, np.nextafter(border, np.float16(0)))
    return np.where(lesion.cpu().numpy(), np.maximum(half, border), below)


def _half(tensor: Tensor) -> NDArray[np.float16]:
    return tensor.detach().float().cpu().numpy().astype(np.float16)
