"""Each explainer's evidence, computed once and kept in the run's folder.

    RUN/audit/evidence/<key>.npy    (R,1|K,H,W) float32
    RUN/audit/evidence/<key>.json   what the explainer says of its own maps; written last

What is damaged is computed again: a file of another length or shape, or JSON that is none.

The key is a hash of weights, images, the reference, and the code of the packages that the
explainer and the backbone are from. So an author who edits one is not shown yesterday's maps;
other libraries but torch are taken to stand still.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolabel_kit.data.store import Subset
from pseudolabel_kit.engine import guard
from pseudolabel_kit.engine.label import predict
from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.engine.seeding import seed_everything
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.files import write_text, written_aside
from pseudolabel_kit.interfaces import Batch, Evidence, Explainer, Family, Prediction
from pseudolabel_kit.isolate import isolated

ROWS = 16
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An explainer's maps of R images.

    Attributes:
        maps: (R,1,H,W) or (R,K,H,W) in [0, 1], memory-mapped.
        told: what the explainer says of its own maps, by name: the mean over the images of
            which it says it.
    """

    maps: NDArray[np.float32]
    family: Family
    told: Mapping[str, float]

    def rows(self, chosen: slice, device: torch.device) -> Evidence:
        """The evidence of some rows."""
        return Evidence(
            map=torch.from_numpy(self.maps[chosen].copy()).to(device), family=self.family
        )


def kept(
    predictor: Predictor,
    reference: str,
    explainer: Explainer,
    rows: Subset,
    folder: Path,
    progress: Progress | None = None,
) -> Kept:
    """The evidence for `rows`, from `folder` where it lies there already.

    Args:
        progress: told (rows done, rows in all) while maps are computed.

    Raises:
        PluginError: the explainer fails; it is named.
        RunError: `folder` cannot be written.
    """
    path = folder / f"{_key(predictor, reference, explainer, rows)}.npy"
    shape = len(rows), *predictor.task.size
    if (found := _read(path, shape, explainer.family)) is None:
        _write(path, predictor, explainer, rows, progress)
        found = _read(path, shape, explainer.family)
    if found is None:
        raise RunError(f"{path}: cannot be read back; expected the maps just written there")
    return found


def answered(predictor: Predictor, rows: Subset) -> Iterator[tuple[slice, Batch, Prediction]]:
    """Batches of rows, and the frozen model's answer as it reaches explainers and fusers."""
    model, debias, start = predictor.model, predictor.config.loss.debias, 0
    for batch in rows.batches(ROWS, predictor.fabric.device):
        chosen = slice(start, start + len(batch.image))
        with predictor.fabric.autocast(), isolated(model):
            yield chosen, batch, predict(model, batch.image, predictor.method, debias=debias)
        start = chosen.stop


def _read(path: Path, shape: tuple[int, ...], family: Family) -> Kept | None:
    """What lies there, or None where that is not whole.

    Args:
        shape: (R,H,W) of the maps, whatever their channels.
    """
    try:
        maps = np.lib.format.open_memmap(path, mode="r")
        told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        whole = path.stat().st_size == maps.offset + maps.nbytes
    except Exception:  # a damaged header may fail as anything that Python's parser raises
        return None
    fits = maps.dtype == np.float32 and maps.ndim == 4 and (len(maps), *maps.shape[2:]) == shape
    says = isinstance(told, dict) and all(isinstance(each, float) for each in told.values())
    return Kept(maps=maps, family=family, told=told) if whole and fits and says else None


def _write(
    path: Path,
    predictor: Predictor,
    explainer: Explainer,
    rows: Subset,
    progress: Progress | None,
) -> None:
    told: dict[str, list[float]] = {}  # by name, once for each image
    seed_everything(predictor.config.train.seed, "explain")  # whichever maps are kept already
    with written_aside(path) as aside, aside.open("wb") as file:
        for chosen, batch, prediction in answered(predictor, rows):
            found = guard.explain(explainer, predictor.model, batch.image, prediction)
            maps = found.map.float().cpu().numpy()
            if not chosen.start:
                shape = (len(rows), *maps.shape[1:])
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(maps.astype("<f4").tobytes())
            said = guard.diagnose(explainer, predictor.model, batch.image, prediction)
            for name, value in said.items():
                told.setdefault(name, []).extend([value] * len(maps))
            if progress:
                progress(chosen.stop, len(rows))
    means = {name: fmean(values) for name, values in told.items()}
    write_text(path.with_suffix(".json"), json.dumps(means) + "\n")


def _key(predictor: Predictor, reference: str, explainer: Explainer, rows: Subset) -> str:
    digest = hashlib.blake2b(digest_size=16)
    states = (predictor.model, explainer.state)
    for state in filter(None, states):
        for name, tensor in state.state_dict().items():
            digest.update(f"{name}{tuple(tensor.shape)}".encode() + raw(tensor))
    for batch in rows.batches(64):
        digest.update(raw(batch.image))
    precision = predictor.config.train.precision
    facts = (reference, len(rows), predictor.config.loss.debias, precision, torch.__version__)
    digest.update(repr(facts).encode())
    classes = (*type(explainer).__mro__, *type(predictor.method.backbone).__mro__)
    for package in sorted({each.__module__.partition(".")[0] for each in classes}):
        for source in _sources(package):
            digest.update(source.read_bytes())
    return digest.hexdigest()


def raw(tensor: Tensor) -> bytes:
    """Its values as they lie in memory, NaN and all."""
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    found: bytes = flat.numpy().tobytes()
    return found


def _sources(package: str) -> list[Path]:
    """The Python files of a package that is not Python's own."""
    spec: Any = None if package in sys.stdlib_module_names else find_spec(package)
    if spec is None:
        return []
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    return sorted(files) if folders else [Path(spec.origin)]
