"""Checkpoints: one safetensors file each, complete or absent, checked when read.

A file holds the tensors of the learner, of the averaged weights and of the optimiser; its
header holds the progress, the configuration's hash and a digest of all but that. Loading
runs no code from the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import Tensor

from pseudolabel_kit.errors import RunError
from pseudolabel_kit.files import written_aside

BEST = "best.safetensors"
FORMAT = "3"  # changes with what a checkpoint holds


class DamagedError(RunError):
    """A checkpoint is not what was written."""


@dataclass
class Progress:
    """Where a run stands, apart from its tensors.

    Attributes:
        step: steps that are done.
        consistency_began: the step at which L_u joined, or None while it has not.
        best: the best value so far of the selecting measure on val.
        log_bytes: the length of the log when the checkpoint was written.
        expected: (low, high) foreground share that the mean label should stay near: the
            decoder's own when L_u began, and that of the labelled masks.
        drifting: whether the last audit found it elsewhere.
        reached: whether val met the criterion that L_u waits for.
        round: which round of pseudo labels goes on, from 0; -1 before L_u.
        zero_for: for how many steps a loss term has been exactly 0; -1 once it was not.
        failures: in how many steps an explainer failed, for each that did.
    """

    step: int = 0
    consistency_began: int | None = None
    best: float | None = None
    log_bytes: int = 0
    expected: tuple[float, float] | None = None
    drifting: bool = False
    reached: bool = False
    round: int = -1
    zero_for: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """What was read from a file."""

    tensors: Mapping[str, Tensor]
    progress: Progress


def save(path: Path, tensors: Mapping[str, Tensor], progress: Progress, config_hash: str) -> None:
    """Write a checkpoint aside and rename it.

    Raises:
        RunError: the folder cannot be written or the disk is full.
    """
    ready = {name: _plain(tensor) for name, tensor in tensors.items()}
    stands = json.dumps(asdict(progress))
    header = {"format": FORMAT, "progress": stands, "config": config_hash}
    header["digest"] = _digest(ready, stands)
    with written_aside(path) as aside:
        aside.write_bytes(serialised(ready, header))


def load(path: Path, config_hash: str) -> Checkpoint:
    """Read and check a checkpoint.

    Raises:
        DamagedError: the file is not what was written.
        RunError: it belongs to another configuration, or to another version of this package.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DamagedError(f"{path}: damaged checkpoint: {error}") from None
    if header.get("format") != FORMAT:
        raise RunError(f"{path}: not written by this version of pseudolabel-kit")
    if header.get("digest") != _digest(tensors, header.get("progress", "")):
        raise DamagedError(f"{path}: damaged checkpoint: its content is not what was written")
    if header.get("config") != config_hash:
        raise RunError(
            f"{path}: this checkpoint belongs to another configuration than run.toml beside it; "
            "restore that run.toml, or start anew with --overwrite"
        )
    return Checkpoint(tensors=tensors, progress=Progress(**json.loads(header["progress"])))


def newest(folder: Path, config_hash: str, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is whole; each damaged one is named to `warn`.

    Raises:
        RunError: there are checkpoints, but none can be read.
    """
    paths = sorted(folder.glob("step-*.safetensors"), reverse=True)
    for path in paths:
        try:
            return load(path, config_hash)
        except DamagedError as error:
            if path == paths[-1]:
                raise
            warn(f"{error}; going on from the one before it")
    return None


def step_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:08d}.safetensors"


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint, by their names, in order."""
    return sorted(int(p.stem.removeprefix("step-")) for p in folder.glob("step-*.safetensors"))


def last_step(folder: Path) -> int | None:
    """The step of the newest checkpoint; None where there is none."""
    return max(steps(folder), default=None)


def prune(folder: Path, keep: int) -> None:
    """Delete all but the last so many checkpoints; 0 = none. The best stays."""
    for path in sorted(folder.glob("step-*.safetensors"))[: -keep or 0]:
        path.unlink(missing_ok=True)


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as flat tensors; rates are a function of the step and not kept."""
    state = optimiser.state_dict()["state"]
    return {f"{index}.{name}": value for index, s in state.items() for name, value in s.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put flat tensors back into an optimiser of the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors below a prefix, without it."""
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with a prefix before their names."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _plain(tensor: Tensor) -> Tensor:
    """On the CPU with strides as they are read back; `contiguous` keeps odd ones of length 1."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _digest(tensors: Mapping[str, Tensor], progress: str = "") -> str:
    digest = hashlib.blake2b(progress.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
