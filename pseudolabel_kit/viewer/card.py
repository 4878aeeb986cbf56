"""A study on the page that lists several, kept beside its own page as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pseudolabel_kit.files import write_text
from pseudolabel_kit.report import thumbnails
from pseudolabel_kit.report.page import environment
from pseudolabel_kit.viewer import sprites
from pseudolabel_kit.viewer.drawing import Drawn
from pseudolabel_kit.viewer.page import policy


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is told of a study before its page is opened.

    Attributes:
        stamp: what its page was made of.
        count: of its slices.
        lesion: the share of all its pixels that is marked, None where the model marks nothing.
        classes: how many slices are taken for each class, the most frequent first.
        thumbnail: the middle slice, a data URI.
    """

    name: str
    stamp: str
    count: int
    lesion: float | None
    classes: Mapping[str, int]
    thumbnail: str


def card(drawn: Drawn, stamp: str) -> Card:
    """The card of a study that was drawn."""
    lesions = [each.lesion for each in drawn.slices if each.lesion is not None]
    likeliest = (int(np.argmax(each.probabilities)) for each in drawn.slices if each.probabilities)
    return Card(
        name=drawn.name,
        stamp=stamp,
        count=len(drawn.slices),
        lesion=sum(lesions) / len(lesions) if lesions else None,
        classes={drawn.classes[i]: n for i, n in Counter(likeliest).most_common()},
        thumbnail=_thumbnail(drawn),
    )


def read_card(path: Path) -> Card | None:
    """A card that was written, or None where there is none that can be read."""
    try:
        return Card(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_card(path: Path, card: Card) -> None:
    """Keep a card; its page stands already."""
    write_text(path, json.dumps(asdict(card)) + "\n")


def index(cards: Sequence[Card], run: str) -> str:
    """The page that lists studies."""
    rendered: str = (
        environment("viewer", "report")
        .get_template("index.html.j2")
        .render(cards=cards, run=run, policy=policy())
    )
    return rendered


def _thumbnail(drawn: Drawn) -> str:
    part, place = divmod(len(drawn.slices) // 2, sprites.EACH)
    image = sprites.decoded(drawn.pictures[part], drawn.frame)[place]
    picture = thumbnails.fitted_image(np.moveaxis(image, -1, 0) / 255)
    for layer in drawn.layers:
        if layer.name == "mask":
            plane = sprites.decoded(layer.sprites[part], drawn.grid)[place, ..., 0] > 127
            size = picture.shape[:2]
            marked = thumbnails.fitted(plane, size, Image.Resampling.NEAREST) >= 0.5
            thumbnails.trace(picture, marked, thumbnails.MARKED)
    return thumbnails.encoded(picture)
