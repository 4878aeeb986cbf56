"""Runs that take a second, and datasets of a few files, for the tests of the engine."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_support import write_manifest
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor

from pseudolabel_kit.cli.main import call
from pseudolabel_kit.config import Config
from pseudolabel_kit.data.source import open_store
from pseudolabel_kit.engine import checkpoint
from pseudolabel_kit.engine.folder import RunFolder
from pseudolabel_kit.engine.loop import Loop
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.engine.run import assemble, configure

PHANTOM = "phantom:size=32:patients=51:slices=1"  # 3 labelled, 30 unlabelled, 6 val, 12 test

TINY: Mapping[str, Any] = {
    "data": {"source": PHANTOM},
    "method": {
        "backbone": "vgg-multiscale:width=0.0625",
        "explainer": "input-x-gradient,caam:start=0%",
        "fuser": "sharpen",
        "perturbation": "contrast-sharpness",
        "teacher": "self",
    },
    "loss": {"consistency_start": "2steps", "consistency_ramp": "2steps"},
    "train": {"steps": 6, "batch_size": 2, "checkpoint_every": 2, "ema": 0.9},
    "evaluate": {"every": "3steps", "bootstrap": 10, "figures": 0},
    "audit": {"rows": 4, "holdout": 0.4, "drift": 1000.0},
}
SUPERVISED: Mapping[str, Any] = {"method": {"fuser": "none", "explainer": "none"}}
STILL: Mapping[str, Any] = {  # nothing is drawn at random but weights and order
    "augment": {"flip": 0.0, "shift": 0.0, "scale": 0.0},
    "method": {"perturbation": "none"},
}


def tiny(*layers: Mapping[str, Any]) -> Config:
    """A configuration of a few steps on a phantom of 32 pixels, overlaid by `layers`."""
    return configure(TINY, {"data": {"cache": cache_folder()}}, *layers)


def steps(count: int) -> Mapping[str, Any]:
    return {"train": {"steps": count}}


@cache
def cache_folder() -> str:
    """Decoded images, shared by all tests of a process."""
    folder = tempfile.mkdtemp(prefix="plk-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def assembled(folder: Path, *layers: Mapping[str, Any]) -> Loop:
    """A run that is ready for its first step, in this process."""
    config = tiny(*layers)
    run = RunFolder(folder)
    run.create(config, overwrite=True)
    fabric = Fabric(accelerator="cpu", devices=1)
    return assemble(config, Method.build(config.method), open_store(config.data), fabric, run)


def toml_of(config: Config, path: Path) -> str:
    """The configuration as a file for `plk train`."""
    path.write_text(config.to_toml(), encoding="utf-8")
    return str(path)


def tensors_of(run: Path, part: str = "") -> dict[str, Tensor]:
    """The tensors of a run's newest checkpoint, or of a part of them such as "learner"."""
    found = checkpoint.newest(run / "checkpoints", RunFolder(run).config_hash(), warn=fail)
    assert found is not None
    return checkpoint.under(part, found.tensors) if part else dict(found.tensors)


def newest(run: Path) -> Path:
    """A run's newest checkpoint, by its name."""
    return max((run / "checkpoints").glob("step-*.safetensors"))


def fail(text: str) -> None:
    raise AssertionError(text)


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def records(run: Path, kind: str = "") -> list[dict[str, Any]]:
    """The log without what a clock measured."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    for record in found:
        record.pop("seconds", None)
    return [record for record in found if not kind or record["kind"] == kind]


# ── datasets ────────────────────────────────────────────────────────────────────────


def write_dataset(
    folder: Path, lines: Sequence[Mapping[str, str]] | None = None, side: int = 32
) -> Path:
    """A manifest of noise images; a line's image and mask are written if it names them.

    A mask holds a square where the label is "ill", and nothing elsewhere.
    """
    lines = usual_lines() if lines is None else lines
    for number, line in enumerate(lines):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 200, (side, side)).astype(np.uint8)
        mask = np.zeros_like(pixels)
        if line.get("label") == "ill":
            top, left = rng.integers(2, side // 2, 2)
            mask[top : top + side // 4, left : left + side // 4] = 255
        pixels[mask > 0] += 50
        for name, plane in ((line["image"], pixels), (line.get("mask"), mask)):
            if name:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(plane).save(folder / name)
    return write_manifest(folder, lines)


def usual_lines() -> list[dict[str, str]]:
    """Two classes, twelve patients with ids that are easy to find, every truth known."""
    sides = ["labelled"] * 4 + ["unlabelled"] * 4 + ["val"] * 2 + ["test"] * 2
    return [
        {
            "image": f"images/{number:02d}.png",
            "mask": f"masks/{number:02d}.png",
            "label": ("ill", "sound")[number % 2],
            "patient": f"IDENTITY{number:02d}",
            "split": split,
        }
        for number, split in enumerate(sides)
    ]


# ── refusals ────────────────────────────────────────────────────────────────────────


def refused(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command line is refused with."""
    capsys.readouterr()
    code = call(line)
    shown = capsys.readouterr()
    assert (code, shown.err.count("\n"), shown.out) == (2, 1, ""), shown
    assert shown.err.startswith("plk: ")
    assert "Traceback" not in shown.err
    return shown.err.removeprefix("plk: ").rstrip("\n")


def training(data: Path, toml: str, out: Path) -> list[str]:
    return ["train", toml, "--data", str(data), "--out", str(out)]
