"""Which rows are measured, where all would take too long."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pseudolabel_kit.data.store import Subset


def with_lesion(rows: Subset) -> list[bool]:
    """Whether each row is known to hold a lesion."""
    return [
        holds
        for batch in rows.batches(64)
        for holds in ((batch.mask > 0.5).flatten(1).any(dim=1) & batch.has_mask).tolist()
    ]


def sample(lesion: Sequence[bool], count: int, seed: int) -> list[int]:
    """Up to `count` positions, ascending, drawn so that lesions keep their share.

    Where there are two or more, at least one of each kind.

    >>> lesion = [True] * 2 + [False] * 8
    >>> drawn = sample(lesion, 5, seed=0)
    >>> len(drawn), sum(lesion[i] for i in drawn)
    (5, 1)
    """
    if count >= len(lesion):
        return list(range(len(lesion)))
    kinds = [[i for i, each in enumerate(lesion) if each is kind] for kind in (True, False)]
    wanted = round(count * len(kinds[0]) / len(lesion))
    if count > 1 and all(kinds):
        wanted = min(max(wanted, 1), count - 1)
    draw = np.random.default_rng(seed)
    shares = zip(kinds, (wanted, count - wanted), strict=True)
    return sorted(int(i) for kind, share in shares for i in draw.permutation(kind)[:share])
