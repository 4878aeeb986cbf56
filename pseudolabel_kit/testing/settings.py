"""Torch's global switches and generators: seeded, looked at, and put back."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from pseudolabel_kit.testing.fault import require

SEED = 20_731  # unlike any that an author would write down
HOOKS = {  # torch's tables of hooks that run for every module
    name: table
    for name, table in vars(torch.nn.modules.module).items()
    if name.startswith("_global_") and isinstance(table, dict)
}


def _read_hooks() -> dict[str, dict[int, Any]]:
    return {name: dict(table) for name, table in HOOKS.items() if table}


def _write_hooks(hooks: Mapping[str, Mapping[int, Any]]) -> None:
    for name, table in HOOKS.items():  # in place: handles point at these very tables
        table.clear()
        table.update(hooks.get(name, {}))


SWITCHES: Mapping[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "autocast": (
        partial(torch.is_autocast_enabled, "cpu"),
        partial(torch.set_autocast_enabled, "cpu"),
    ),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "the mode of deterministic algorithms": (
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    ),
    "the precision of matrix products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "anomaly detection": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "the hooks of all modules": (_read_hooks, _write_hooks),
    "cudnn.benchmark": (
        lambda: torch.backends.cudnn.benchmark,
        lambda on: setattr(torch.backends.cudnn, "benchmark", on),
    ),
}


@contextmanager
def restored() -> Iterator[None]:
    """Torch's global switches are afterwards what they were before, whatever a part does."""
    before = _settings()
    try:
        yield
    finally:
        for name, (_, write) in SWITCHES.items():
            write(before[name])


@contextmanager
def settings_kept(call: str) -> Iterator[None]:
    """Torch's global switches and the seed of its generator stay as they are.

    Raises:
        ConformanceError: it names the switch.
    """
    with restored():
        before = _settings()
        yield
        for name, value in _settings().items():
            require(
                before[name] == value,
                f"{call} changed {name} from {before[name]} to {value!s:.60}",
                "change no global setting and seed no global generator: the engine has seeded it",
            )


def seeded(seed: int = SEED) -> None:
    """Seed all global generators, as the engine does before every step."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def drawn() -> bool:
    """Whether anyone has drawn from a global generator since all were `seeded`."""

    def following() -> tuple[float, ...]:
        return float(torch.rand(())), float(np.random.random()), random.random()

    now = following()
    seeded()
    return now != following()


def _settings() -> dict[str, Any]:
    now = {name: read() for name, (read, _) in SWITCHES.items()}
    return now | {"the seed of torch's generator": torch.initial_seed()}
