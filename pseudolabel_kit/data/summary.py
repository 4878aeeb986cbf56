"""What a dataset holds, in figures: what a reader checks before training on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pseudolabel_kit.data.hashing import digest, equal
from pseudolabel_kit.data.splits import Splits
from pseudolabel_kit.data.store import Store
from pseudolabel_kit.interfaces import Row

CHUNK = 64  # rows in memory at a time


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many of what one side holds.

    Attributes:
        images: rows.
        patients: known ones.
        by_class: rows of each class, in the order of the classes.
        no_label: rows without.
        no_mask: rows without.
        no_region: rows without.
    """

    images: int
    patients: int
    by_class: tuple[int, ...]
    no_label: int
    no_mask: int
    no_region: int


@dataclass(frozen=True, kw_only=True)
class LesionShare:
    """Foreground of the labelled rows that have a mask.

    Attributes:
        shown: rows whose mask has foreground.
        empty: rows whose mask has none.
        mean: mean share of foreground pixels over the rows that show it; nan where none does.
    """

    shown: int
    empty: int
    mean: float


def count(rows: Sequence[Row], indices: Sequence[int], classes: int) -> Counts:
    """Count the rows at these indices."""
    here = [rows[i] for i in indices]
    labels = [row.label for row in here]
    return Counts(
        images=len(here),
        patients=len({row.patient for row in here} - {None}),
        by_class=tuple(labels.count(label) for label in range(classes)),
        no_label=labels.count(None),
        no_mask=sum(not row.has_mask for row in here),
        no_region=sum(not row.has_region for row in here),
    )


def lesion_share(store: Store, splits: Splits) -> LesionShare:
    """How much of the labelled images is lesion; reads no other row's mask."""
    masked = [i for i in splits.labelled if store.rows[i].has_mask]
    subset = store.subset(masked)
    shares: list[float] = []
    for start in range(0, len(subset), CHUNK):
        batch = subset.batch(range(start, min(start + CHUNK, len(subset))))
        shares += batch.mask.amax(dim=1).mean(dim=(1, 2)).tolist()
    shown = [share for share in shares if share > 0]
    mean = float(np.mean(shown)) if shown else float("nan")
    return LesionShare(shown=len(shown), empty=len(shares) - len(shown), mean=mean)


def same_images(store: Store, splits: Splits) -> list[tuple[int, int]]:
    """Pairs of rows with equal pixels of which one is measured and one stands elsewhere.

    Labelled and unlabelled rows are one side. Each row is paired with the first like it.
    """
    measured = {i: side for side in ("val", "test") for i in getattr(splits, side)}
    subset = store.subset(range(len(store.rows)), labels=(), masks=False)
    digests = [digest(image) for batch in subset.batches(CHUNK) for image in batch.image.numpy()]
    pairs = ((group[0], i) for group in equal(digests) for i in group[1:])
    return [(a, b) for a, b in pairs if measured.get(a) != measured.get(b)]
