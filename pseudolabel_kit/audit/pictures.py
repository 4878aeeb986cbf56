"""The images on which a fuser helps most and harms most, with evidence and its label alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pseudolabel_kit.audit.findings import Judged
from pseudolabel_kit.audit.sweep import Audited, taught_mask
from pseudolabel_kit.engine import guard
from pseudolabel_kit.engine.label import predict
from pseudolabel_kit.isolate import isolated
from pseudolabel_kit.report.panels import Strip, strips

EACH = 2  # best and worst images of each fuser
FUSERS = 4  # that are shown


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Images of one fuser: those that it brings nearest to the truth, then those it spoils."""

    name: str
    strips: list[tuple[str, Strip]]


def shown(audited: Audited) -> list[Shown]:
    """The best and the worst images of the first fusers, told by their change in Brier score."""
    return [_of_fuser(audited, judged) for judged in audited.findings.labels[:FUSERS]]


def _of_fuser(audited: Audited, judged: Judged) -> Shown:
    change = audited.findings.change(judged)
    chosen = list(extremes(change))
    arrays = _arrays(audited, judged.name, [row for row, _ in chosen])
    names = audited.findings.classes
    labels = audited.findings.rows.labels
    captions = {"truth": [names[labels[i]] if labels[i] >= 0 else None for i, _ in chosen]}
    said = [f"{word}: Brier score {-change[row]:+.4f}" for row, word in chosen]
    return Shown(name=judged.name, strips=list(zip(said, strips(arrays, captions), strict=True)))


def extremes(change: NDArray[np.float64]) -> Iterator[tuple[int, str]]:
    """The rows that gain most, then those that lose most; what does not change is not shown.

    >>> list(extremes(np.array([0.0, 0.3, -0.1, np.nan])))
    [(1, 'helps'), (2, 'harms')]
    """
    order = [int(i) for i in np.argsort(change) if np.isfinite(change[i])]
    yield from ((i, "helps") for i in order[::-1][:EACH] if change[i] > 0)
    yield from ((i, "harms") for i in order[:EACH] if change[i] < 0)


def _arrays(audited: Audited, name: str, chosen: list[int]) -> dict[str, NDArray[Any]]:
    """What a strip shows of each row; the maps are read from those that were kept."""
    found: dict[str, list[NDArray[Any]]] = {}
    for row in chosen:
        for what, array in _row(audited, name, row).items():
            found.setdefault(what, []).append(array)
    arrays = {what: np.stack(each) for what, each in found.items()}
    # Names may tell whom they are of: rows are counted instead.
    return arrays | {"names": np.array([f"image {row + 1}" for row in chosen])}


def _row(audited: Audited, fuser: str, row: int) -> dict[str, NDArray[Any]]:
    """Image, truth, evidence, the decoder's answer and the label of one fuser."""
    predictor = audited.predictor
    batch = audited.rows.batch([row], device=predictor.fabric.device)
    evidence = {
        name: each.rows(slice(row, row + 1), batch.image.device)
        for name, each in audited.kept.items()
    }
    with predictor.fabric.autocast(), isolated(predictor.model):
        debias = predictor.config.loss.debias
        prediction = predict(predictor.model, batch.image, predictor.method, debias=debias)
        label = guard.fuse(audited.parts.fusers[fuser], prediction, evidence, batch.image)
    image = batch.image[0].cpu().numpy()
    truth = _plane(batch.mask) if bool(batch.has_mask) else np.full(image.shape[1:], np.nan)
    found = {"image": image, "truth": truth}
    found |= {f"evidence/{name}": _plane(each.map) for name, each in evidence.items()}
    if prediction.mask_logits is not None:
        found["decoder"] = _plane(prediction.mask_logits.sigmoid())
    if (masks := taught_mask(label, prediction)) is not None:
        found[f"label/{fuser}"] = _plane(masks[0])
    return found


def _plane(maps: Tensor) -> NDArray[np.float32]:
    """The first row; of several mask channels the one that says most at each place."""
    plane: NDArray[np.float32] = maps[0].detach().float().amax(dim=0).cpu().numpy()
    return plane
