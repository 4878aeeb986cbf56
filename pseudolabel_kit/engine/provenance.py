"""Where a run comes from: enough to judge and to repeat it, nothing that names a patient."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch
from lightning_fabric import Fabric
from pydantic import TypeAdapter

from pseudolabel_kit.config import Config
from pseudolabel_kit.data import pack
from pseudolabel_kit.data.imported import import_settings
from pseudolabel_kit.data.splits import SPLITS, Splits
from pseudolabel_kit.data.store import Store
from pseudolabel_kit.engine.cost import device_name
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.step import Learner
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.interfaces import Task

FILE = "provenance.json"
PACKAGES = (
    *("pseudolabel-kit", "torch", "captum", "timm", "segmentation-models-pytorch"),
    *("lightning-fabric", "torchmetrics", "numpy"),
)


def provenance(
    config: Config, store: Store, splits: Splits, fabric: Fabric, learner: Learner
) -> dict[str, Any]:
    """Versions, machine, data and sizes, ready for JSON."""
    return {
        **occasion(fabric),
        "resumed": [],
        "seed": config.train.seed,
        "split_hash": splits.hash,
        "data_hash": data_hash(store, splits),
        "imported": import_settings(config.data.source),
        "rows": {side: len(getattr(splits, side)) for side in SPLITS},
        "patients": {
            side: len({store.rows[i].patient for i in getattr(splits, side)} - {None})
            for side in SPLITS
        },
        "parameters": sum(p.numel() for p in learner.parameters()),
        "task": asdict(learner.method.backbone.task),
    }


def occasion(fabric: Fabric) -> dict[str, Any]:
    """When, by which command, with which versions, on what."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv[1:] if sys.argv[0].endswith("plk") else [],
        "versions": {name: version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "device": device_name(fabric.device),
        "processes": fabric.world_size,
        "threads": torch.get_num_threads(),
    }


def data_hash(store: Store, splits: Splits) -> str:
    """A hash of all that training and measuring read: pixels, labels, classes and sides."""
    told = [splits.hash, store.classes, [row.label for row in store.rows]]
    told.append(pack.describe(store.folder)["digests"])
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()


def read(folder: RunFolder) -> dict[str, Any]:
    """The provenance of a run, as plain JSON.

    Raises:
        RunError: the file is missing or not what plk train wrote.
    """
    path = folder.path / FILE
    try:
        origin: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        TypeAdapter(Task).validate_python(origin["task"])
        return origin
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(f"{path}: cannot be read; expected the file that plk train wrote") from None


def task(origin: Mapping[str, Any]) -> Task:
    """What a run is about, by its provenance."""
    return TypeAdapter(Task).validate_python(origin["task"])


def require_same_data(
    folder: RunFolder, source: str, store: Store, splits: Splits
) -> dict[str, Any]:
    """The provenance, unless the data changed since: measures would mean something else.

    Raises:
        RunError: pixels, labels, classes or sides are not what they were.
    """
    origin = read(folder)
    if origin.get("data_hash") != data_hash(store, splits):
        raise RunError(
            f"{source}: its images, labels or splits changed since {folder.path} began; "
            "restore them, or train a new run"
        )
    return origin
