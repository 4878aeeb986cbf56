"""Which rows are trained on, with and without labels, and which are kept to measure on.

Whole patients stand on one side. Where patients are unknown, every image is its own.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.interfaces import Row, Split

SPLITS: tuple[Split, ...] = ("labelled", "unlabelled", "val", "test")
Side = Literal["train", "val", "test"]
SIDES: tuple[Side, ...] = ("train", "val", "test")
Group = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Row indices of each side, ascending.

    Attributes:
        hash: 16 hex digits over the names on each side; equal hashes, equal splits.
    """

    labelled: tuple[int, ...]
    unlabelled: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    hash: str

    def side(self, split: Split, source: str) -> tuple[int, ...]:
        """The rows of one side of a dataset.

        Raises:
            DataError: it holds none.
        """
        rows: tuple[int, ...] = getattr(self, split)
        if not rows:
            raise DataError(f"{source}: the split '{split}' holds no rows to measure")
        return rows


def assign(rows: Sequence[Row], config: DataConfig, seed: int) -> Splits:
    """Put every row on a side: the dataset's own where it names them, else by fractions.

    Where no row names a split, `config.val` and `config.test` of the rows are drawn. A
    training row without a split is labelled if it has a mask or a label. If
    `config.labelled` is given, it is the share of the training rows that keep their labels,
    counted over those with a mask, and over all of a class without any. The other patients'
    rows are unlabelled: what is known of their classes comes back by `config.weak_labels`. All
    draws are of whole patients, seeded, and stratified by class.

    Raises:
        DataError: a patient stands on two sides, or no row is labelled.
    """
    sides = _named_or_drawn(rows, config, seed)
    _refuse_leaks(rows, sides)
    training = [i for i, side in enumerate(sides) if side not in ("val", "test")]
    if config.labelled is None:
        labelled = {i for i in training if sides[i] == "labelled" or _own_labels(rows[i], sides[i])}
    else:
        labelled = _kept(rows, training, config.labelled, seed)
    if not any(annotated(rows[i]) for i in labelled):
        raise DataError(_nothing_labelled(config))
    for i in training:
        sides[i] = "labelled" if i in labelled else "unlabelled"
    return _splits(rows, sides)


def sides(rows: Sequence[Row], config: DataConfig, seed: int) -> list[Side]:
    """The side of every row, as `assign` puts it, also where a patient stands on two."""
    return [_broad(side) for side in _named_or_drawn(rows, config, seed)]


def leaks(rows: Sequence[Row], sides: Sequence[Side]) -> Iterator[tuple[int, int]]:
    """For each row whose patient stands on another side too: that patient's first row, and it."""
    first: dict[str, int] = {}
    for i, row in enumerate(rows):
        if row.patient is not None:
            other = first.setdefault(row.patient, i)
            if sides[other] != sides[i]:
                yield other, i


def hold_back(
    rows: Sequence[Row], val: float, test: float, seed: int, lesions: Sequence[bool] = ()
) -> list[Split | None]:
    """Put about these shares of the rows on `val` and `test`, whole patients; None is the rest.

    Of every class that is annotated, the rest keeps one patient at least.
    """
    groups = patients(rows, range(len(rows)))
    share = min(1.0, val / (1 - test)) if test < 1 else 0.0
    held: list[Split | None] = [None] * len(rows)
    sides: tuple[tuple[Split, float], ...] = (("test", test), ("val", share))
    for side, fraction in sides:
        drawn = draw(rows, groups, fraction, seed, side, lesions=lesions, keep_classes=True)
        groups = [group for group in groups if group not in set(drawn)]
        for i in (i for group in drawn for i in group):
            held[i] = side
    return held


def hold_out(
    rows: Sequence[Row],
    labelled: Sequence[int],
    fraction: float,
    seed: int,
    lesion_classes: Sequence[int] = (),
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split labelled rows into (kept, held), whole patients, about `fraction` of them held.

    At least one patient is held and one is kept, if there are two. Where two patients have
    a mask in a lesion class, each part gets one of them.

    Args:
        lesion_classes: labels whose masks can have foreground; empty = any row with a mask.
    """
    groups = patients(rows, labelled)
    if fraction <= 0 or len(groups) < 2:
        return tuple(sorted(labelled)), ()
    order = [groups[i] for i in _generator(seed, "hold-out").permutation(len(groups))]
    lesion = [g for g in order if any(_may_show_lesion(rows[i], lesion_classes) for i in g)]
    first, spared = (lesion[0], lesion[1]) if len(lesion) > 1 else (order[0], order[-1])
    target = fraction * len(labelled)
    held = list(first)
    for group in order:
        if group not in (first, spared) and len(held) + len(group) / 2 <= target:
            held.extend(group)
    return tuple(sorted(set(labelled) - set(held))), tuple(sorted(held))


def weakly_labelled(
    rows: Sequence[Row], unlabelled: Sequence[int], fraction: float, seed: int
) -> frozenset[int]:
    """Unlabelled rows whose class label trains: about `fraction` of them, whole patients."""
    if fraction >= 1:
        return frozenset(unlabelled)
    drawn = draw(rows, patients(rows, unlabelled), fraction, seed, "weak")
    return frozenset(i for group in drawn for i in group)


def patients(rows: Sequence[Row], indices: Iterable[int]) -> list[Group]:
    """The indices by patient, in order of appearance; a row without one is by itself."""
    groups: dict[str | int, list[int]] = defaultdict(list)
    for i in indices:
        patient = rows[i].patient
        groups[i if patient is None else patient].append(i)
    return [tuple(group) for group in groups.values()]


def draw(
    rows: Sequence[Row],
    groups: Sequence[Group],
    fraction: float,
    seed: int,
    stream: str,
    *,
    lesions: Sequence[bool] = (),
    size: Callable[[Group], int] = len,
    keep_classes: bool = False,
) -> list[Group]:
    """Groups that hold about `fraction` of the rows in every stratum; at least one if above 0.

    Over all strata and in each, what is drawn is off by less than the largest group.

    Args:
        lesions: whether each row's mask shows a lesion, where that is known: it stratifies too.
        size: what a group counts; its rows, unless given.
        keep_classes: leave a group of every annotated class, though less is then drawn.
    """
    if fraction <= 0 or not groups:
        return []
    generator = _generator(seed, stream)
    strata: dict[tuple[int, bool, bool], list[Group]] = defaultdict(list)
    for group in (groups[i] for i in generator.permutation(len(groups))):
        strata[_stratum(rows, group, lesions)].append(group)
    left = Counter(label for group in groups for label in _shown(rows, group) if keep_classes)
    drawn: list[Group] = []
    owed = 0.0  # what one stratum could not give in whole patients, the next one does
    for _, members in sorted(strata.items()):
        owed += fraction * sum(map(size, members))
        for group in members:
            if size(group) <= 2 * owed and _spared(rows, group, left):
                drawn.append(group)
                owed -= size(group)
                left.subtract(_shown(rows, group))
    largest = max(strata.values(), key=len)
    return drawn or [group for group in largest if _spared(rows, group, left)][:1]


def annotated(row: Row) -> bool:
    """Whether anything could be learnt from the row: it has a mask or a label."""
    return row.has_mask or row.label is not None


def budgeted(rows: Sequence[Row], indices: Iterable[int]) -> set[int]:
    """Those of some rows that a budget of labels counts.

    They have a mask, or are of a class that no mask is known of, as healthy ones may be. A class
    alone is cheap: where it counted beside masks, a tenth of the labels could hold next to none.
    """
    known = {i for i in indices if annotated(rows[i])}
    masked = {rows[i].label for i in known if rows[i].has_mask}
    return {i for i in known if rows[i].has_mask or rows[i].label not in masked}


def _kept(rows: Sequence[Row], training: Sequence[int], share: float, seed: int) -> set[int]:
    """The training rows that stay labelled: whole patients, by the share of rows that count.

    Rows of theirs of which nothing is known count, too, as they always did.
    """
    counted = budgeted(rows, training)
    partly = {i for i in training if annotated(rows[i])} - counted  # take nothing of the share
    groups = [group for group in patients(rows, training) if counted & set(group)]
    drawn = draw(rows, groups, share, seed, "labelled", size=lambda g: len(set(g) - partly))
    return {i for group in drawn for i in group}


def _named_or_drawn(rows: Sequence[Row], config: DataConfig, seed: int) -> list[Split | None]:
    named = [row.split for row in rows]
    return named if any(named) else hold_back(rows, config.val, config.test, seed)


def _refuse_leaks(rows: Sequence[Row], splits: Sequence[Split | None]) -> None:
    broad = [_broad(split) for split in splits]
    for first, other in leaks(rows, broad):
        raise DataError(
            f"patient '{rows[first].patient}' stands on two sides: {rows[first].name} is in "
            f"{broad[first]}, {rows[other].name} in {broad[other]}; "
            "put all rows of a patient on one side"
        )


def _broad(split: Split | None) -> Side:
    return split if split in ("val", "test") else "train"


def _own_labels(row: Row, side: Split | None) -> bool:
    return side is None and annotated(row)


def _may_show_lesion(row: Row, lesion_classes: Sequence[int]) -> bool:
    return row.has_mask and (not lesion_classes or row.label in lesion_classes)


def _shown(rows: Sequence[Row], group: Group) -> set[int | None]:
    """The classes that could be learnt from a group; None = masks without one."""
    return {rows[i].label for i in group if annotated(rows[i])}


def _spared(rows: Sequence[Row], group: Group, left: Mapping[int | None, int]) -> bool:
    """Whether a group is not the last of any class that is counted."""
    return all(left.get(label, 0) != 1 for label in _shown(rows, group))


def _stratum(rows: Sequence[Row], group: Group, lesions: Sequence[bool]) -> tuple[int, bool, bool]:
    """The commonest (class, has a mask, has a lesion) of a group; ties go to the lowest."""
    kinds = [
        (
            -1 if (label := rows[i].label) is None else label,
            rows[i].has_mask,
            bool(lesions and lesions[i]),
        )
        for i in group
    ]
    return max(sorted(set(kinds)), key=kinds.count)


def _generator(seed: int, stream: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(stream.encode())])


def _nothing_labelled(config: DataConfig) -> str:
    if config.labelled is not None:
        return f"data.labelled = {config.labelled} leaves no labelled row; expected more than 0"
    return "no training row is labelled: expected a mask or a label, and no split or 'labelled'"


def _splits(rows: Sequence[Row], sides: Sequence[Split | None]) -> Splits:
    members = {s: tuple(i for i, side in enumerate(sides) if side == s) for s in SPLITS}
    digest = hashlib.sha256()
    for split, indices in members.items():
        digest.update("\0".join([split, *sorted(rows[i].name for i in indices), "\n"]).encode())
    return Splits(**members, hash=digest.hexdigest()[:16])
