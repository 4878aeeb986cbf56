"""Small pictures of the rows that a finding concerns, with their masks and regions outlined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pseudolabel_kit.check.check import Checked
from pseudolabel_kit.check.finding import Case, Finding
from pseudolabel_kit.data.store import Subset
from pseudolabel_kit.interfaces import Batch
from pseudolabel_kit.report.thumbnails import (
    TRUTH,
    encoded,
    fitted,
    fitted_image,
    trace,
)

REGION = (1.0, 0.7, 0.1)
EACH = 12  # cases of a finding that are shown
WITHIN = 6  # images of a case that are shown


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image, as a data URI, and what is known of it.

    Attributes:
        name: its number: file names may tell whom they are of.
        known: side and class.
    """

    name: str
    known: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A finding with the pictures of its first cases.

    Attributes:
        finding: what was found.
        cases: pictures of a case that belong together, and what is told of it.
        more: how many cases are not shown.
    """

    finding: Finding
    cases: list[tuple[list[Picture], str]]
    more: int


def shown(checked: Checked) -> list[Shown]:
    """The first cases of every finding."""
    rows = checked.store.subset(range(len(checked.store.rows)))
    return [_shown(checked, rows, finding) for finding in checked.findings]


def _shown(checked: Checked, rows: Subset, finding: Finding) -> Shown:
    first = list(zip(finding.cases, finding.told, strict=True))[:EACH]
    return Shown(
        finding=finding,
        cases=[_case(checked, rows, case, told) for case, told in first],
        more=len(finding.cases) - len(first),
    )


def _case(checked: Checked, rows: Subset, case: Case, told: str) -> tuple[list[Picture], str]:
    more = [f"{left} more images"] if (left := len(case) - WITHIN) > 0 else []
    pictures = [_picture(checked, rows, i) for i in case[:WITHIN]]
    return pictures, "; ".join(filter(None, [told, *more]))


def _picture(checked: Checked, rows: Subset, row: int) -> Picture:
    batch = rows.batch([row])
    picture = fitted_image(batch.image[0].numpy())
    size = picture.shape[:2]
    for plane, colour in ((_region(batch), REGION), (batch.mask[0].amax(dim=0).numpy(), TRUTH)):
        if plane is not None and not plane.all():
            trace(picture, fitted(plane, size, Image.Resampling.NEAREST) >= 0.5, colour)
    label = checked.store.rows[row].label
    known = [checked.sides[row], *([] if label is None else [checked.store.classes[label]])]
    return Picture(name=f"image {row + 1}", known=" · ".join(known), source=encoded(picture))


def _region(batch: Batch) -> NDArray[np.float32] | None:
    if batch.region is None:
        return None
    plane: NDArray[np.float32] = batch.region[0, 0].numpy()
    return plane
