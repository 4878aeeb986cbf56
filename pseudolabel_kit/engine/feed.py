"""Which rows a step reads, and which take part in a round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray

from pseudolabel_kit.config import Config
from pseudolabel_kit.data.sampling import pool_of_round, rows_of_step
from pseudolabel_kit.data.store import Subset
from pseudolabel_kit.engine.checkpoint import Progress
from pseudolabel_kit.engine.setup import Streams, unlabelled_batch
from pseudolabel_kit.engine.step import CONSISTENCY, Step
from pseudolabel_kit.interfaces import Batch

Positions = NDArray[np.int64]
ROWS = 16  # read at a time where all rows are read


@dataclass(frozen=True, kw_only=True)
class Feed:
    """The rows of a run, given out step by step: a function of where the run stands."""

    config: Config
    fabric: Fabric
    streams: Streams
    progress: Progress

    @property
    def labelled(self) -> Subset:
        """The rows that train with labels now: those that audit wait until L_u has begun."""
        began = self.progress.consistency_began is not None
        return self.streams.labelled if began or not self.streams.held else self.streams.early

    def pool(self) -> Positions:
        """The unlabelled rows that take part now."""
        count, train = len(self.streams.unlabelled), self.config.train
        if not train.progressive or self.progress.round < 0:
            return np.arange(count)
        return pool_of_round(self.progress.round, rounds=train.rounds, count=count, seed=train.seed)

    def step(self, number: int, weights: Mapping[str, float]) -> Step:
        """A step's rows, with the weights of its loss terms."""
        needed = weights[CONSISTENCY] > 0 or self.config.data.weak_labels > 0
        pool = self.pool() if needed else np.arange(0)
        everyone, batch = np.arange(len(self.labelled)), self.config.train.batch_size
        return Step(
            labelled=self.rows(self.labelled, everyone, number, "labelled", batch),
            unlabelled=self.rows(
                self.streams.unlabelled, pool, number, "unlabelled", unlabelled_batch(self.config)
            )
            if len(pool)
            else None,
            weights=weights,
        )

    def batches(self, subset: Subset, positions: Positions | None = None) -> Iterator[Batch]:
        """All rows of a subset, or some of them, without augmentation."""
        chosen = np.arange(len(subset)) if positions is None else positions
        for start in range(0, len(chosen), ROWS):
            yield subset.batch(chosen[start : start + ROWS], device=self.fabric.device)

    def rows(self, subset: Subset, pool: Positions, number: int, stream: str, batch: int) -> Batch:
        """This process's share of a step's rows, out of a pool of the subset's."""
        train, mine = self.config.train, batch // self.fabric.world_size
        drawn = rows_of_step(number, count=len(pool), batch=batch, seed=train.seed, stream=stream)
        first = mine * self.fabric.global_rank
        return subset.batch(pool[drawn[first : first + mine]], device=self.fabric.device)
