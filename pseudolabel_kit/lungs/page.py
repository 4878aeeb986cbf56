"""The page of an agreement: one file that holds everything it shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pseudolabel_kit.data.readers import read_image
from pseudolabel_kit.lungs.agreement import Agreement, Overlap, Summaries, expert
from pseudolabel_kit.lungs.methods import Method
from pseudolabel_kit.lungs.pieces import pieces
from pseudolabel_kit.report.page import environment
from pseudolabel_kit.report.thumbnails import TRUTH, encoded, fitted, fitted_image, trace
from pseudolabel_kit.scans.slice_lungs import Mask

FOUND = (1.0, 0.7, 0.1)
EACH = 12  # images of a method that are shown


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image, as a data URI, with its number: file names may tell whom they are of."""

    name: str
    dice: float
    source: str


def page(agreement: Agreement, methods: Sequence[Method]) -> str:
    """Every method's figures, and the images on which it agrees least with the expert.

    Args:
        agreement: what was found.
        methods: the same as then; the worst images are looked at again.
    """
    rendered: str = (
        environment("lungs", "report")
        .get_template("lungs.html.j2")
        .render(
            name=agreement.file.parent.name,
            groups=[*agreement.sides().items(), *_unnamed(agreement)],
            worst={method.name: _worst(agreement, method) for method in methods},
        )
    )
    return rendered


def _worst(agreement: Agreement, method: Method) -> list[Picture]:
    worst = agreement.worst(method.name, EACH)
    rows = [each.row for each in worst]
    found = dict(method.find(pieces(agreement.file.parent, agreement.lines, rows)))
    return [_picture(agreement, each, found[each.row]) for each in worst]


def _unnamed(agreement: Agreement) -> Iterator[tuple[str, Summaries]]:
    """Patients by number: what the manifest calls them may be a name."""
    for number, figures in enumerate(agreement.patients().values(), start=1):
        yield f"patient {number}", figures


def _picture(agreement: Agreement, overlap: Overlap, found: Mask) -> Picture:
    line, folder = agreement.lines[overlap.row], agreement.file.parent
    picture = fitted_image(read_image(folder / line.image, line.where("image")))
    truth = expert(folder, line, found.shape)
    for mask, colour in ((truth, TRUTH), (found, FOUND)):
        plane = fitted(mask.astype(np.float32), picture.shape[:2], Image.Resampling.NEAREST)
        trace(picture, plane >= 0.5, colour)
    return Picture(name=f"image {overlap.row + 1}", dice=overlap.dice, source=encoded(picture))
