"""Faults between rows: patients and copies of images on two sides, copies that contradict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from pseudolabel_kit.check.finding import Finding, Severity
from pseudolabel_kit.check.measures import Measures, Told
from pseudolabel_kit.data.hashing import BITS, VIEWS, Group, alike, likeness
from pseudolabel_kit.data.splits import Side, leaks
from pseudolabel_kit.interfaces import Row

Cases: TypeAlias = Mapping[Group, tuple[int, set[int]]]
FIXES = {
    "across-sides": "keep those of one side, or draw anew: plk data split keeps copies together",
    "with-two-labels": "decide which label is right, and leave the other images out",
    "on-one-side": "leave all but one out, unless they are to count more than once",
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
    """Images that are there several times: across sides, with two labels, or only so.

    Whoever mends what is told of a group has mended it: all of its rows are named.
    """
    found = alike(
        measures.hashes,
        digests=measures.digests,
        owners=[i if row.patient is None else row.patient for i, row in enumerate(rows)],
        progress=lambda done, total: told("comparing images", done, total),
    )
    cases = {group: likeness(measures.hashes, group) for group in found}
    groups = sorted(cases, key=lambda group: (cases[group][0], group))
    labels = [row.label for row in rows]
    harmless = set(groups)
    for where, marks in (("across-sides", sides), ("with-two-labels", labels)):
        odd = [group for group in groups if _differ(marks, group)]
        harmless -= set(odd)
        same = [group for group in odd if _differ_though_equal(marks, group, measures.digests)]
        near = [group for group in odd if group not in same]
        yield from _found("copies", where, "error", same, cases)
        yield from _found("near-copies", where, "warning", near, cases)
    alone = [group for group in groups if group in harmless]
    yield from _found("copies", "on-one-side", "note", alone, cases)


def _differ(marks: Sequence[object], group: Iterable[int]) -> bool:
    return len({marks[i] for i in group} - {None}) > 1


def _differ_though_equal(marks: Sequence[object], group: Group, digests: Sequence[bytes]) -> bool:
    """Whether rows whose very pixels are equal have different marks."""
    by_pixels: dict[bytes, list[int]] = defaultdict(list)
    for i in group:
        by_pixels[digests[i]].append(i)
    return any(_differ(marks, each) for each in by_pixels.values())


def _found(
    alike: str, where: str, severity: Severity, groups: Sequence[Group], cases: Cases
) -> Iterator[Finding]:
    if groups:
        yield Finding(
            kind=f"{alike}-{where}",
            severity=severity,
            said=f"{alike} {where.replace('-', ' ')}",
            fix=FIXES[where],
            cases=tuple(groups),
            told=tuple(_told(*cases[group], several=len(group) > 2) for group in groups),
        )


def _told(bits: int, views: set[int], *, several: bool) -> str:
    if not bits and views == {0}:
        return ""
    turned = ", ".join(VIEWS[view] for view in sorted(views - {0}))
    how = f", {'some ' if several else ''}{turned}" if turned else ""
    return f"{'up to ' if several else ''}{bits} of {BITS} bits differ{how}"
