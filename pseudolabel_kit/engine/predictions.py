"""Predictions of image files, written into a folder; every picture in its image's own size.

classes.csv              image, predicted class, one probability column a class
masks/NAME.png           0 or 255: what plk evaluate counts as lesion
probabilities/NAME.png   16 bit, 65535 = 1: the decoder's probability of a lesion
decoder/NAME.png         that probability over the grey image, the mask outlined
evidence/REF/NAME.png    an explainer's evidence over the grey image

With several mask channels there are masks/0, masks/1, and so on, and overlays show the
largest of the channels.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pseudolabel_kit.engine.images import (
    ImageFile,
    Pixels,
    open_image,
    output_names,
    warn_of_regions,
)
from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.engine.reading import in_own_size, readings
from pseudolabel_kit.engine.readout import as_numpy, likeliest
from pseudolabel_kit.engine.seeding import seed_everything
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.files import written_aside
from pseudolabel_kit.report.overlays import overlay

CLASSES = "classes.csv"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a run says of one image, apart from the pictures.

    Attributes:
        image: its path, as it was given.
        name: what its pictures are called.
        probabilities: of every class, by its name; empty where the model does not classify.
        lesion_share: the share of the image's pixels that the mask marks; None where the model
            does not segment.
    """

    image: Path
    name: str
    probabilities: Mapping[str, float]
    lesion_share: float | None

    @property
    def predicted(self) -> str:
        """The likeliest class, or nothing where the model does not classify."""
        return likeliest(self.probabilities)


def predict_files(
    predictor: Predictor,
    images: Sequence[Path],
    out: Path,
    *,
    batch_size: int = 8,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Answer]:
    """Predict images and write the folder that is described above.

    Args:
        images: see `find_images`.
        batch_size: how many images are held in memory at once.
        overwrite: replace outputs that are there already.
        progress: told (images done, images in all).

    Raises:
        DataError: an image cannot be read or does not suit the run; those of the batches
            before it are written, and `classes.csv` lists them.
        RunError: an output is there already, or cannot be written.
    """
    names = output_names(images)
    _refuse_existing(predictor, images, out, names, overwrite=overwrite)
    warn_of_regions(predictor.config.data)
    answers: list[Answer] = []
    try:
        for start in range(0, len(images), batch_size):
            chosen = slice(start, start + batch_size)
            seed_everything(predictor.config.train.seed, "predict", start)
            opened = [
                open_image(path, predictor.task, padded=predictor.padded) for path in images[chosen]
            ]
            answers += _answer(predictor, opened, out, names[chosen])
            progress(len(answers), len(images))
    finally:
        if answers:
            _write_classes(out / CLASSES, answers)
    return answers


def file_name(reference: str) -> str:
    """A folder's name for a part's reference; no two references share one.

    >>> file_name("ig:steps=8"), file_name("calibrated/caam")
    ('ig,steps=8', 'calibrated%2Fcaam')
    """
    return quote(reference.replace(":", ","), safe=",=")  # references hold no commas


def _answer(
    predictor: Predictor, opened: Sequence[ImageFile], out: Path, names: Sequence[str]
) -> Iterator[Answer]:
    """Predict one batch; each image's answer comes when its pictures are written."""
    batch = torch.from_numpy(np.stack([image.fitted for image in opened]))
    prediction, evidence = predictor.explain(batch)
    read = readings(prediction, predictor.task, opened)
    maps = {reference: as_numpy(each.map) for reference, each in evidence.items()}
    for i, (image, name) in enumerate(zip(opened, names, strict=True)):
        mine, marked = read[i].lesion, read[i].threshold
        shown = {r: in_own_size(image, each[i]).max(axis=0) for r, each in maps.items()}
        for kind, pixels in _pictures(image, mine, marked, shown):
            _write_picture(_target(out, kind, name), pixels)
        yield Answer(
            image=image.path,
            name=name,
            probabilities=read[i].probabilities,
            lesion_share=None if mine is None else float((mine.max(axis=0) >= marked).mean()),
        )


def _pictures(
    image: ImageFile, probability: Pixels | None, marked: float, evidence: Mapping[str, Pixels]
) -> Iterator[tuple[str, NDArray[Any]]]:
    for reference, map_ in evidence.items():
        yield f"evidence/{file_name(reference)}", overlay(image.grey, map_)
    if probability is None:
        return
    count = len(probability)
    for kind, plane in zip(_channels("masks", count), probability, strict=True):
        yield kind, np.where(plane >= marked, 255, 0).astype(np.uint8)
    for kind, plane in zip(_channels("probabilities", count), probability, strict=True):
        yield kind, np.rint(plane.astype(np.float64) * 65535).astype(np.uint16)
    yield "decoder", overlay(image.grey, probability.max(axis=0), outline=marked)


def _channels(kind: str, count: int) -> list[str]:
    return [kind] if count == 1 else [f"{kind}/{channel}" for channel in range(count)]


def _target(out: Path, kind: str, name: str) -> Path:
    return out / kind / f"{name}.png"


def _refuse_existing(
    predictor: Predictor,
    images: Sequence[Path],
    out: Path,
    names: Sequence[str],
    *,
    overwrite: bool,
) -> None:
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: is a file; expected a folder for --out")
    count = predictor.task.mask_channels
    kinds = [*_channels("masks", count), *_channels("probabilities", count), "decoder"]
    kinds += [f"evidence/{file_name(reference)}" for reference in predictor.method.explainers]
    targets = [out / CLASSES, *(_target(out, kind, name) for kind in kinds for name in names)]
    there = [target for target in targets if target.exists()]
    read = {image.resolve() for image in images}
    if taken := [target for target in there if target.resolve() in read]:
        raise RunError(f"{taken[0]}: is an image to predict; choose another --out")
    if there and not overwrite:
        more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        raise RunError(
            f"{there[0]}: exists already{more}; replace with --overwrite, or choose another --out"
        )


def _write_picture(path: Path, pixels: NDArray[Any]) -> None:
    with written_aside(path) as aside:
        Image.fromarray(pixels).save(aside, format="PNG")


def _write_classes(path: Path, answers: Sequence[Answer]) -> None:
    with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "predicted", *(f"p_{c}" for c in answers[0].probabilities)])
        for answer in answers:
            scores = [f"{p:.6f}" for p in answer.probabilities.values()]
            writer.writerow([answer.image, answer.predicted, *scores])
