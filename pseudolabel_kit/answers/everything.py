"""`plk predict` from Python: scans and pictures through a run, into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from pseudolabel_kit.answers.answer import Answer
from pseudolabel_kit.answers.predict import predict_studies
from pseudolabel_kit.answers.scanner import Scanner
from pseudolabel_kit.engine import predictions
from pseudolabel_kit.engine.images import find_images
from pseudolabel_kit.engine.predict import load
from pseudolabel_kit.scans.inputs import find_studies, settings_for
from pseudolabel_kit.scans.study import Skipped


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What was answered; the files are in the folder.

    Attributes:
        scans: an answer for each volume and DICOM series.
        pictures: an answer for each picture.
        skipped: what cannot be used, and why.
    """

    scans: Sequence[Answer]
    pictures: Sequence[predictions.Answer]
    skipped: Sequence[Skipped]


def predict(
    run: str | PathLike[str],
    inputs: Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    *,
    which: str = "best",
    overwrite: bool = False,
) -> Predicted:
    """Answer scans and pictures into a folder, as `plk predict` does without further options.

    Args:
        run: the run, or its folder.
        inputs: volumes, DICOM series, pictures, or folders of them.
        out: the folder to write into; what is answered there already is kept.
        which: "best" on val, "last", or a step that has a checkpoint.
        overwrite: replace outputs that are there already.

    Raises:
        DataError: an input is missing, or a folder holds nothing to read.
        RunError: there is no such run, or an output is there already.
    """
    folder = Path(out)
    found = find_studies([Path(each) for each in inputs], skip=folder)
    images = find_images(found.pictures, skip=folder)
    predictor = load(run, which=which)
    scans: Sequence[Answer] = []
    skipped = list(found.skipped)
    if found.studies:
        scanner = Scanner(predictor=predictor, settings=settings_for(predictor.imported))
        done = predict_studies(scanner, found.studies, folder, overwrite=overwrite)
        scans = done.answers
        skipped += done.skipped
    pictures: Sequence[predictions.Answer] = []
    if images:
        pictures = predictions.predict_files(predictor, images, folder, overwrite=overwrite)
    return Predicted(scans=scans, pictures=pictures, skipped=skipped)
