"""Where a run comes from: enough to judge and to repeat it, nothing that names a patient."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch
from lightning_fabric import Fabric

from pseudolabel_kit.config import Config
from pseudolabel_kit.data.splits import Splits
from pseudolabel_kit.data.store import Store
from pseudolabel_kit.engine.step import Learner

SIDES = ("labelled", "unlabelled", "val", "test")
PACKAGES = ("pseudolabel-kit", "torch", "captum", "lightning-fabric", "torchmetrics", "numpy")


def provenance(
    config: Config, store: Store, splits: Splits, fabric: Fabric, learner: Learner
) -> dict[str, Any]:
    """Versions, machine, data and sizes, ready for JSON."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv[1:] if sys.argv[0].endswith("plk") else [],
        "versions": {name: version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "device": _device(fabric),
        "processes": fabric.world_size,
        "threads": torch.get_num_threads(),
        "seed": config.train.seed,
        "split_hash": splits.hash,
        "rows": {side: len(getattr(splits, side)) for side in SIDES},
        "patients": {
            side: len({store.rows[i].patient for i in getattr(splits, side)} - {None})
            for side in SIDES
        },
        "parameters": sum(p.numel() for p in learner.parameters()),
        "task": asdict(learner.method.backbone.task),
    }


def _device(fabric: Fabric) -> str:
    if fabric.device.type == "cuda":
        return torch.cuda.get_device_name(fabric.device)
    return f"{fabric.device.type} ({platform.machine()})"
