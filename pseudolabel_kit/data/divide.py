"""Draws the sides of a whole dataset: val, test, and a budget of labels for the rest."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias

from pseudolabel_kit.data.splits import Group, annotated, budgeted, draw, hold_back, patients
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Row, Split

Unit: TypeAlias = Literal["patients", "images", "share"]
By: TypeAlias = Literal["patient", "image"]
KNOWN = "a mask or a label"
BOUND = "; patients who share copies are drawn as one, --copies ignore draws them freely"
TRAINING: tuple[Split, ...] = ("labelled", "unlabelled")
EXPECTED = "expected 12patients, 200images, or a share such as 0.1"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much of the training side keeps its labels.

    Attributes:
        amount: above 0; a whole number of patients or images, or a share up to 1.
        unit: what is counted, among the images that have a mask, and all of a class without
            any; a share is one of these images.
    """

    amount: float
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read a budget as it is written on a command line.

        >>> Budget.parse("12 patients"), Budget.parse("0.1")
        (Budget(amount=12.0, unit='patients'), Budget(amount=0.1, unit='share'))

        Raises:
            ConfigError: it is neither a count nor a share, or it is 0.
        """
        if counted := re.fullmatch(r"(\d+) ?(patient|image)s?", text.strip()):
            unit: Unit = "patients" if counted[2] == "patient" else "images"
            budget = cls(amount=float(counted[1]), unit=unit)
        elif re.fullmatch(r"[01]|[01]?\.\d+", text.strip()) and float(text) <= 1:
            budget = cls(amount=float(text), unit="share")
        else:
            raise ConfigError(f"--labelled {text}: {EXPECTED}")
        if not budget.amount:
            raise ConfigError(f"--labelled {text}: expected more than 0")
        return budget

    def __str__(self) -> str:
        if self.unit == "share":
            return f"{self.amount:.1%} of the images"
        return f"{self.amount:.0f} {self.unit if self.amount != 1 else self.unit[:-1]}"

    def counted(self, rows: Sequence[Row], group: Sequence[int]) -> int:
        """How much of the budget some rows take: their number, or that of their patients."""
        return len(patients(rows, group)) if self.unit == "patients" else len(group)

    def target(self, there: int, known: str = KNOWN, hint: str = "") -> float:
        """The budget in patients or images.

        Args:
            there: how many it counts.
            known: what these have, for the error.
            hint: ends the error.

        Raises:
            ConfigError: there are less than it asks for.
        """
        if self.unit == "share":
            return self.amount * there
        if self.amount > there:
            raise ConfigError(
                f"--labelled asks for {self}: {there} of the training side have {known}{hint}"
            )
        return self.amount


@dataclass(frozen=True, kw_only=True)
class Shares:
    """What is asked for.

    Attributes:
        val: share of the images.
        test: share of the images.
        labelled: of the training side; None = every row that has a mask or a label.
        by: what a label is given to: a whole patient, or an image by itself.
    """

    val: float
    test: float
    labelled: Budget | None
    by: By

    def __post_init__(self) -> None:
        for name, share in (("--val", self.val), ("--test", self.test)):
            if not (math.isfinite(share) and 0 <= share < 1):
                raise ConfigError(f"{name} {share:g}: expected a share, from 0 to below 1")
        if self.val + self.test >= 1:
            raise ConfigError(
                f"--val {self.val:g} and --test {self.test:g} leave nothing to train on; "
                "expected a sum below 1"
            )
        if self.by == "image" and self.labelled and self.labelled.unit == "patients":
            raise ConfigError("--by image: expected --labelled in images or as a share")


def divide(
    rows: Sequence[Row],
    shares: Shares,
    seed: int,
    lesions: Sequence[bool] = (),
    copies: Sequence[Group] = (),
) -> list[Split]:
    """The side of every row, by one seeded draw, stratified by class, mask and lesion.

    A patient never stands on two of training, val and test, and of every class one stays to be
    trained on. Labels go to whole patients, so that a budget is missed by less than the largest
    of them; or, by image, to single ones. Where images of a class have masks, the budget counts
    these alone, and who has none of them is unlabelled.

    Args:
        rows: what is known of the images; splits that they name are not read.
        shares: what is asked for.
        seed: another one draws other patients.
        lesions: whether each row's mask shows a lesion.
        copies: rows that show the same; patients who share one are drawn as one.

    Raises:
        ConfigError: the training side has less than the budget asks for, or no patients.
    """
    if shares.labelled and shares.labelled.unit == "patients" and not any(r.patient for r in rows):
        raise ConfigError(
            f"--labelled {shares.labelled}: no patient is known; expected images or a share"
        )
    bound = _together(rows, copies)
    held = hold_back(bound, shares.val, shares.test, seed, lesions)
    able = [i for i, side in enumerate(held) if side is None and annotated(rows[i])]
    chosen = set(able)
    if budget := shares.labelled:
        counted = budgeted(rows, able)
        groups = [(i,) for i in able] if shares.by == "image" else patients(bound, able)
        groups = [group for group in groups if counted & set(group)]

        def size(group: Group) -> int:  # by the patients that copies have bound, one by one
            return budget.counted(rows, [i for i in group if i in counted])

        there = sum(map(size, groups))
        known = KNOWN if counted == chosen else "a mask, or a class without masks"
        fraction = budget.target(there, known, BOUND if copies else "") / max(1, there)
        drawn = draw(bound, groups, fraction, seed, "labelled", lesions=lesions, size=size)
        chosen = {i for group in drawn for i in group}
    return [side or ("labelled" if i in chosen else "unlabelled") for i, side in enumerate(held)]


def _together(rows: Sequence[Row], copies: Sequence[Group]) -> Sequence[Row]:
    """The rows, with one name for all patients who are bound by copies."""
    owners = [
        str(i) if row.patient is None else f"patient {row.patient}" for i, row in enumerate(rows)
    ]
    bound = {owner: owner for owner in owners}

    def first(owner: str) -> str:
        while bound[owner] != owner:
            owner = bound[owner]
        return owner

    for group in copies:
        for i in group:
            bound[first(owners[i])] = first(owners[group[0]])
    return [replace(row, patient=first(owner)) for row, owner in zip(rows, owners, strict=True)]


def absent(rows: Sequence[Row], splits: Sequence[Split], classes: Sequence[str]) -> list[str]:
    """Classes with too few patients for every side, and the sides that lack them."""
    told = []
    for label, name in enumerate(classes):
        members = [i for i, row in enumerate(rows) if row.label == label]
        here = {splits[i] for i in members}
        lacking = [side for side in ("val", "test") if side in splits and side not in here]
        if members and lacking:
            count = len(patients(rows, members))
            noun = "patient" if any(rows[i].patient for i in members) else "image"
            told.append(
                f"class '{name}' has {count} {noun}{'s' if count > 1 else ''}, none of them in "
                f"{' and '.join(lacking)}"
            )
    return told


def inexact(rows: Sequence[Row], splits: Sequence[Split], shares: Shares) -> list[str]:
    """Where what came out is not what was asked for: patients stay whole, and copies together."""
    told = [
        (side, splits.count(side), "images", share * len(rows))
        for side, share in (("test", shares.test), ("val", shares.val))
    ]
    if shares.labelled:
        training = sorted(budgeted(rows, (i for i, s in enumerate(splits) if s in TRAINING)))
        given = [i for i in training if splits[i] == "labelled"]
        counted = partial(shares.labelled.counted, rows)
        noun = "patients" if shares.labelled.unit == "patients" else "images"
        wanted = shares.labelled.target(counted(training))
        told.append(("labelled", counted(given), noun, wanted))
    return [
        f"{side}: {count} {noun} where {wanted:.0f} were asked for"
        for side, count, noun, wanted in told
        if abs(count - wanted) >= 1
    ]
