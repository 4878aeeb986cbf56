"""Faults of masks: where they lie, how much they cover, and whether their class can have one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pseudolabel_kit.check.finding import Finding, Severity
from pseudolabel_kit.check.measures import Measures
from pseudolabel_kit.interfaces import Row

BEYOND = 0.1  # share of a mask that may lie outside the region: borders are drawn by hand
COVERING = 0.9  # share of an image that no lesion covers
RARE = 0.05  # share of a class's masks up to which they are exceptions


def places(measures: Measures) -> Iterator[Finding]:
    """Masks outside the region, masks of nearly everything, specks."""
    yield from _found(
        "mask-outside-region",
        "warning",
        f"masks lie by more than {BEYOND:.0%} outside the region",
        "look whether mask and region belong to this image, and are not shifted or flipped",
        {i: f"{measures.outside[i]:.0%} outside" for i in _where(measures.outside > BEYOND)},
    )
    yield from _found(
        "mask-covers-image",
        "warning",
        f"masks cover more than {COVERING:.0%} of the image",
        "look whether they are inverted, or masks of something else",
        {i: f"{measures.lesion[i]:.0%} covered" for i in _where(measures.lesion > COVERING)},
    )
    yield from _found(
        "mask-with-specks",
        "note",
        "masks have parts of less than 1/10,000 of the image",
        "look whether they are slips of the pen; remove them if so",
        {i: f"specks: {measures.specks[i]:.0f}" for i in _where(measures.specks > 0)},
    )


def lesions(
    rows: Sequence[Row], classes: Sequence[str], named: Iterable[int], measures: Measures
) -> Iterator[Finding]:
    """Masks that contradict their class.

    Args:
        rows: of the dataset.
        classes: their names.
        named: classes that can hold lesions, where the dataset or the user names them; where
            none does, those of which more than a few masks show one.
        measures: what was read.
    """
    can_hold = set(named)
    for label, name in enumerate(classes):
        masked = [i for i, row in enumerate(rows) if row.label == label and row.has_mask]
        shown = [i for i in masked if measures.lesion[i] > 0]
        empty = [i for i in masked if measures.lesion[i] == 0]
        able = label in can_hold if can_hold else len(shown) > RARE * len(masked)
        few = len(empty) <= RARE * len(masked)
        if able:
            yield from _found(
                "empty-lesion",
                "warning" if few else "note",
                f"masks are empty, though class '{name}' has lesions"
                + ("" if few else "; so many may be slices that show none"),
                "draw the lesion, leave the mask's cell empty if nobody has drawn it, or give "
                "the image the class that it shows",
                dict.fromkeys(empty, ""),
            )
        else:
            yield from _found(
                "lesion-of-sound-class",
                "warning",
                f"masks show a lesion, though class '{name}' has none",
                "correct the class or the mask; if the class can hold lesions, say so with "
                "--set data.lesion_classes=[…]",
                {i: f"{measures.lesion[i]:.1%} covered" for i in shown},
            )


def _found(
    kind: str, severity: Severity, said: str, fix: str, cases: dict[int, str]
) -> Iterator[Finding]:
    if cases:
        yield Finding(
            kind=kind,
            severity=severity,
            said=said,
            fix=fix,
            cases=tuple((i,) for i in cases),
            told=tuple(cases.values()),
        )


def _where(found: NDArray[np.bool_]) -> list[int]:
    return [int(i) for i in np.flatnonzero(found)]
