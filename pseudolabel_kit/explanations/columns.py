"""Every measure of every row, and what becomes of them: figures of all rows and of each class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pseudolabel_kit.audit.findings import Chosen, Rows
from pseudolabel_kit.engine.bootstrap import draws, interval
from pseudolabel_kit.engine.scores import Array, mean
from pseudolabel_kit.report.explained import CHANCE, WORDS, Figure, Figures, Group

Columns: TypeAlias = Mapping[str, Mapping[str, Array]]
"""By explainer, then by measure: (R,) or (R,T), NaN where a row does not define it."""


@dataclass
class Gathered:
    """Values by explainer and measure, batch by batch."""

    parts: dict[str, dict[str, list[Array]]] = field(default_factory=dict)

    def add(self, explainer: str, values: Iterable[tuple[str, Tensor]]) -> None:
        """One batch of an explainer: the measures' names, and values (B,) or (B,T)."""
        own = self.parts.setdefault(explainer, {})
        for name, value in values:
            own.setdefault(name, []).append(value.double().cpu().numpy())

    @property
    def columns(self) -> Columns:
        """All rows."""
        return {
            explainer: {name: np.concatenate(each) for name, each in own.items()}
            for explainer, own in self.parts.items()
        }


def times(rows: Rows, resamples: int, seed: int) -> Array:
    """(S,R): how often each row counts when patients are drawn; images of none each alone.

    No resamples where there are fewer than two to draw from.
    """
    alone = np.where(rows.patients > 0, rows.patients, -1 - np.arange(len(rows)))
    groups, group = np.unique(alone, return_inverse=True)
    if len(groups) < 2:
        return np.zeros((0, len(rows)))
    return draws(len(groups), resamples, seed)[:, group].astype(np.float64)


def groups(columns: Columns, rows: Rows, classes: Iterable[str], drawn: Array) -> list[Group]:
    """The figures of all rows, then those of each class that has any."""
    chosen = {"all": np.ones(len(rows), dtype=np.bool_)}
    chosen |= {name: rows.labels == index for index, name in enumerate(classes)}
    return [
        Group(
            name=name,
            rows=int(some.sum()),
            lesions=int((some & rows.masked & ~rows.free).sum()),
            figures=_figures(columns, some, drawn),
        )
        for name, some in chosen.items()
        if some.any()
    ]


def _figures(columns: Columns, some: Chosen, drawn: Array) -> Figures:
    found: dict[str, dict[str, Figure]] = {}
    for explainer, own in columns.items():
        found[explainer] = {}
        for name in WORDS:
            chance = columns.get(CHANCE, {}).get(name)
            if name in own and np.isfinite(own[name][some]).any():
                other = None if explainer == CHANCE or chance is None else chance[some]
                found[explainer][name] = _figure(name, own[name][some], other, drawn[:, some])
    return found


def _figure(name: str, values: Array, chance: Array | None, drawn: Array) -> Figure:
    bounds = interval(mean(values, drawn))
    gain = None if chance is None else interval(mean(values - chance, drawn))
    sign = 0 if gain is None or gain[0] <= 0 <= gain[1] else (1 if gain[0] > 0 else -1)
    return Figure(
        value=float(mean(values)),
        interval=bounds,
        sign=-sign if WORDS[name].less_is_better else sign,
    )


def curves(columns: Columns) -> dict[str, dict[str, list[float]]]:
    """The mean curves of deletion and insertion, by explainer."""
    found = {
        explainer: {
            name.removeprefix("curve/"): _rounded(mean(values.T))
            for name, values in own.items()
            if name.startswith("curve/")
        }
        for explainer, own in columns.items()
    }
    return {explainer: each for explainer, each in found.items() if each}


def pairs(columns: Columns) -> dict[str, dict[str, float]]:
    """The mean rank correlation of each two explainers, where any row defines it."""
    return {
        explainer: {
            name.removeprefix("pair/"): round(float(mean(values)), 6)
            for name, values in own.items()
            if name.startswith("pair/") and np.isfinite(values).any()
        }
        for explainer, own in columns.items()
        if explainer != CHANCE
    }


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 6) for value in values]
