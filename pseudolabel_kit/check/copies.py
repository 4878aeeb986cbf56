"""Faults between rows: patients and copies of images on two sides, copies that contradict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.check.finding import Finding, Severity
from pseudolabel_kit.check.greys import is_constant
from pseudolabel_kit.check.measures import Measures, Told
from pseudolabel_kit.data.hashing import BITS, VIEWS, Pair, equal_pairs, near_pairs
from pseudolabel_kit.data.splits import Side, leaks
from pseudolabel_kit.interfaces import Row

ERROR: Severity = "error"
WARNING: Severity = "warning"
FIXES = {
    "across-sides": "leave one out, or give both one patient: plk data split keeps them together",
    "with-two-labels": "decide which label is right, and leave the other image out",
    "on-one-side": "leave one out, unless it is to count twice",
}


def patients(rows: Sequence[Row], sides: Sequence[Side]) -> Iterator[Finding]:
    """Patients on two sides: each by their first row, and their first on another side."""
    pairs = {rows[first].patient: (first, other) for first, other in [*leaks(rows, sides)][::-1]}
    if pairs:
        yield Finding(
            kind="patient-on-two-sides",
            severity="error",
            said="patients stand on two sides of the split",
            fix="put all rows of a patient on one side: plk data split does",
            cases=tuple(sorted(pairs.values())),
            told=("",) * len(pairs),
        )


def copies(
    rows: Sequence[Row], sides: Sequence[Side], measures: Measures, told: Told
) -> Iterator[Finding]:
    """Images that are there twice, worst first: across sides, with two labels, or only so."""
    flat = is_constant(measures)
    equal = [pair for pair in equal_pairs(measures.digests) if not flat[pair.second]]
    near = near_pairs(
        measures.hashes,
        owners=_numbers(i if row.patient is None else row.patient for i, row in enumerate(rows)),
        kinds=_numbers((side, row.label) for side, row in zip(sides, rows, strict=True)),
        progress=lambda done, total: told("comparing images", done, total),
    )
    near = [p for p in near if measures.digests[p.first] != measures.digests[p.second]]

    def across(pair: Pair) -> bool:
        return sides[pair.first] != sides[pair.second]

    def contradict(pair: Pair) -> bool:
        one, other = rows[pair.first].label, rows[pair.second].label
        return one is not None and other is not None and one != other

    def harmless(pair: Pair) -> bool:
        return not across(pair) and not contradict(pair)

    for alike, severity, pairs in (("copies", ERROR, equal), ("near-copies", WARNING, near)):
        yield from _found(alike, "across-sides", severity, filter(across, pairs))
        yield from _found(alike, "with-two-labels", severity, filter(contradict, pairs))
    yield from _found("copies", "on-one-side", "note", filter(harmless, [*equal, *near]))


def _found(alike: str, where: str, severity: Severity, pairs: Iterable[Pair]) -> Iterator[Finding]:
    if chosen := sorted(pairs, key=lambda pair: (pair.bits, pair)):
        yield Finding(
            kind=f"{alike}-{where}",
            severity=severity,
            said=f"{alike} {where.replace('-', ' ')}",
            fix=FIXES[where],
            cases=tuple((pair.first, pair.second) for pair in chosen),
            told=tuple(map(_likeness, chosen)),
        )


def _likeness(pair: Pair) -> str:
    turned = f", {VIEWS[pair.view]}" if pair.view else ""
    return f"{pair.bits} of {BITS} bits differ{turned}" if pair.bits or pair.view else ""


def _numbers(keys: Iterable[object]) -> NDArray[np.int64]:
    """Equal numbers for equal keys."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
