"""Every measure of every row, and what becomes of them: figures of all rows and of each class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pseudolabel_kit.audit.findings import Chosen, Rows
from pseudolabel_kit.engine.bootstrap import interval, owners, sign, suffices
from pseudolabel_kit.engine.scores import Array, mean
from pseudolabel_kit.report.explained import (
    CHANCE,
    LEAST_FALL,
    WORDS,
    Ends,
    Figure,
    Figures,
    Group,
)

Columns: TypeAlias = Mapping[str, Mapping[str, Array]]
"""By explainer, then by measure: (R,) or (R,T), NaN where a row does not define it."""
AREAS = ("deletion", "insertion")


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


def on_lesions(columns: Columns, rows: Rows) -> Columns:
    """Deletion and insertion without the images in which there is no lesion to take away.

    All images where none is known to hold one.
    """
    lesion = rows.masked & ~rows.free
    if not lesion.any():
        return columns
    names = {*AREAS, *(f"curve/{name}" for name in AREAS)}
    return {
        explainer: {
            name: np.where(lesion.reshape(-1, *[1] * (values.ndim - 1)), values, np.nan)
            if name in names
            else values
            for name, values in own.items()
        }
        for explainer, own in columns.items()
    }


def groups(columns: Columns, rows: Rows, classes: Iterable[str], drawn: Array) -> list[Group]:
    """The figures of all rows, then those of each class that has any."""
    chosen = {"all": np.ones(len(rows), dtype=np.bool_)}
    chosen |= {name: rows.labels == index for index, name in enumerate(classes)}
    return [
        Group(
            name=name,
            rows=int(some.sum()),
            lesions=int((some & rows.masked & ~rows.free).sum()),
            ends=(ends := _ends(columns, some)),
            figures=_figures(columns, some, drawn, owners(rows.patients), _flat(ends)),
        )
        for name, some in chosen.items()
        if some.any()
    ]


def _ends(columns: Columns, some: Chosen) -> Ends:
    """The followed class's mean probability on the image and on the baseline, by area."""
    found: dict[str, tuple[float, float]] = {}
    for name, whole, none in (("deletion", 0, -1), ("insertion", -1, 0)):
        values = columns.get(CHANCE, {}).get(f"curve/{name}")
        if values is not None and np.isfinite(values[some]).any():
            found[name] = (float(mean(values[some, whole])), float(mean(values[some, none])))
    return found


def _flat(ends: Ends) -> set[str]:
    """The areas under which there is nothing to measure: the class is as sure without the image."""
    return {name for name, (whole, none) in ends.items() if whole - none < LEAST_FALL}


def _figures(
    columns: Columns, some: Chosen, drawn: Array, owner: NDArray[np.int64], left_out: set[str]
) -> Figures:
    found: dict[str, dict[str, Figure]] = {}
    for explainer, own in columns.items():
        found[explainer] = {}
        for name in WORDS:
            chance = columns.get(CHANCE, {}).get(name)
            if name in own and name not in left_out and np.isfinite(own[name][some]).any():
                other = None if explainer == CHANCE or chance is None else chance[some]
                found[explainer][name] = _figure(
                    name, own[name][some], other, drawn[:, some], owner[some]
                )
    return found


def _figure(
    name: str, values: Array, chance: Array | None, drawn: Array, owner: NDArray[np.int64]
) -> Figure:
    better = 0 if chance is None else _sign(values - chance, drawn, owner)
    return Figure(
        value=float(mean(values)),
        interval=interval(mean(values, drawn)),
        sign=-better if WORDS[name].less_is_better else better,
    )


def _sign(gains: Array, drawn: Array, owner: NDArray[np.int64]) -> int:
    """Of the mean gain over the images that have one."""
    return sign(interval(mean(gains, drawn)), enough=suffices(owner[np.isfinite(gains)]))


def curves(columns: Columns) -> dict[str, dict[str, list[float]]]:
    """The mean curves of deletion and insertion, by explainer."""
    found = {
        explainer: {
            name.removeprefix("curve/"): _rounded(mean(values.T))
            for name, values in own.items()
            if name.startswith("curve/") and np.isfinite(values).any()
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
