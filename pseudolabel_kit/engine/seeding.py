"""Random state as a function of (seed, step, rank): nothing to store, anywhere to resume."""

from __future__ import annotations

import hashlib
import os
import random

import numpy as np
import torch


def derived_seed(*key: int | str) -> int:
    """A 63-bit seed from any key, the same in every process and on every machine.

    >>> derived_seed(0, "weights") == derived_seed(0, "weights") != derived_seed(1, "weights")
    True
    """
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def seed_everything(*key: int | str) -> None:
    """Seed torch's, NumPy's and Python's global generators from a key."""
    seed = derived_seed(*key)
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # plugins may draw from it
    random.seed(seed)


def prefer_determinism() -> None:
    """Ask for algorithms that give the same answer twice; those that cannot will warn."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    # A debugging aid that costs 6% of a step: nothing of ours reads what it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
