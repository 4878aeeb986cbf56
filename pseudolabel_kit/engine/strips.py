"""Pictures for the report: what a model sees, image by image (the paper's Fig. 4)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pseudolabel_kit.config import Config
from pseudolabel_kit.data.store import Subset
from pseudolabel_kit.engine import guard
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.label import explain
from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import Batch, Evidence, Explainer
from pseudolabel_kit.isolate import isolated
from pseudolabel_kit.plugin.blame import FaultError
from pseudolabel_kit.plugin.build import build
from pseudolabel_kit.plugin.reference import parse_list

Array = NDArray[np.float32]


def write_strips(folder: RunFolder, predictor: Predictor, rows: Subset) -> None:
    """Write `strips.npz` and `strips.json` for some images, lesions first."""
    chosen = choose(rows, predictor.config.evaluate.figures)
    if not chosen:
        return
    batch = rows.batch(chosen, device=predictor.fabric.device)
    found = predictor.label(batch.image)
    evidence = in_order(predictor, {**found.evidence, **more_evidence(predictor, batch.image)})
    arrays: dict[str, NDArray[Any]] = {
        "names": np.array([rows.names[i] for i in chosen]),
        "image": _numpy(batch.image),
        "truth": _truth(batch),
    }
    if found.prediction.mask_logits is not None:
        arrays["decoder"] = _numpy(found.prediction.mask_logits.sigmoid())[:, 0]
    if found.pseudo.mask is not None:
        arrays["pseudo"] = _numpy(found.pseudo.mask)[:, 0]
    arrays |= {f"evidence/{name}": _numpy(each.map)[:, 0] for name, each in evidence.items()}
    folder.write_arrays(folder.strips.name, arrays)
    folder.write_json("strips.json", _captions(predictor, batch, found.prediction.class_logits))


def choose(rows: Subset, count: int) -> list[int]:
    """Positions of up to `count` rows: those with a lesion first, then others, evenly spread."""
    holds = [
        has
        for batch in rows.batches(64)
        for has in (batch.mask.flatten(1).amax(dim=1) > 0).tolist()
    ]
    lesion = [position for position, has in enumerate(holds) if has]
    other = [position for position, has in enumerate(holds) if not has]
    most = math.ceil(2 * count / 3)
    taken = spread(lesion, max(most, count - len(other)))
    return taken + spread(other, count - len(taken))


def spread(items: list[int], count: int) -> list[int]:
    """Up to `count` items, evenly spread over the list.

    >>> spread([1, 2, 3, 4, 5, 6], 3)
    [1, 3, 5]
    """
    if count >= len(items):
        return items
    return [items[i * len(items) // count] for i in range(max(0, count))]


def in_order(predictor: Predictor, evidence: Mapping[str, Evidence]) -> dict[str, Evidence]:
    """The maps as `evaluate.strips` names them, then what else there is."""
    named = [str(reference) for reference in parse_list(predictor.config.evaluate.strips)]
    return {name: evidence[name] for name in dict.fromkeys([*named, *evidence]) if name in evidence}


def explainers(config: Config) -> dict[str, Explainer]:
    """The explainers that `evaluate.strips` names, by their references.

    Raises:
        ConfigError, PluginError: one is misspelt, unknown or broken.
    """
    named = map(str, parse_list(config.evaluate.strips))
    return {reference: build("explainer", reference) for reference in named}


def more_evidence(predictor: Predictor, images: Tensor) -> dict[str, Evidence]:
    """The maps that `evaluate.strips` asks for beside the method's own."""
    own = predictor.method.explainers
    found: dict[str, Evidence] = {}
    with isolated(predictor.model):
        prediction = predictor(images)
        for reference, explainer in explainers(predictor.config).items():
            if reference in own:
                continue
            guard.begin(explainer, predictor.task)
            try:
                found |= explain(predictor.model, {reference: explainer}, images, prediction)
            except FaultError as error:
                warnings.warn(f"{error}; its map is not shown", stacklevel=2)
            except PluginError:  # this backbone has nothing that this explainer could read
                continue
    return found


def _captions(
    predictor: Predictor, batch: Batch, class_logits: Tensor | None
) -> Mapping[str, object]:
    names = predictor.task.classes
    known = zip(batch.label.tolist(), batch.has_label.tolist(), strict=True)
    truth = {"truth": [names[label] if has else None for label, has in known]}
    if class_logits is None:
        return truth
    probability, guess = class_logits.softmax(dim=1).max(dim=1)
    return truth | {
        "predicted": [names[i] for i in guess.tolist()],
        "probability": probability.tolist(),
    }


def _truth(batch: Batch) -> Array:
    truth = _numpy(batch.mask)[:, 0].copy()
    truth[~batch.has_mask.cpu().numpy()] = np.nan
    return truth


def _numpy(tensor: Tensor) -> Array:
    return tensor.detach().float().cpu().numpy()
