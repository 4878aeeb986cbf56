"""Scans through a trained run, one at a time: answered, kept from before, or skipped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pseudolabel_kit.answers.answer import Answer
from pseudolabel_kit.answers.folder import AnswerFolder
from pseudolabel_kit.answers.scanner import Scanner
from pseudolabel_kit.errors import ConfigError, DataError
from pseudolabel_kit.files import claimed
from pseudolabel_kit.scans.study import Skipped, Study, without_masks


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What was done.

    Attributes:
        answers: in the order of the studies.
        kept: how many of them were there before.
        skipped: studies that cannot be used.
        others: answers in the folder by other settings, which `studies.csv` does not hold.
    """

    answers: Sequence[Answer]
    kept: int
    skipped: Sequence[Skipped]
    others: int = 0


def predict_studies(
    scanner: Scanner,
    studies: Sequence[Study],
    out: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Answered:
    """Answer scans into a folder; see `answers.folder`.

    A study whose answer is there, of the same files by the same weights and settings, is kept,
    unless a file of the answer is gone.

    Args:
        overwrite: replace whatever is there.
        progress: told (studies done, studies in all).

    Raises:
        ConfigError: what is wanted cannot be made of these studies.
        DataError: there is no such lung mask.
        RunError: an output is there already, or cannot be written.
    """
    seen = [without_masks(study) for study in studies]
    _refuse(scanner, seen)
    folder = AnswerFolder(out)
    answers: list[Answer] = []
    skipped: list[Skipped] = []
    kept = 0
    with claimed(out, "another process is predicting into it"):
        before = _before(scanner, seen, folder, overwrite=overwrite)
        try:
            for done, study in enumerate(seen, start=1):
                found = before.get(study.name) or _answered(scanner, study, folder)
                kept += study.name in before
                if isinstance(found, Skipped):
                    skipped.append(found)
                else:
                    answers.append(found)
                progress(done, len(seen))
        finally:
            others = folder.tabulate(scanner.maker)
    return Answered(answers=answers, kept=kept, skipped=skipped, others=others)


def _answered(scanner: Scanner, study: Study, folder: AnswerFolder) -> Answer | Skipped:
    try:
        return scanner.answer(study, folder)
    except DataError as error:
        return Skipped(study.name, str(error))
    except OSError as error:  # a file that has gone since it was found
        return Skipped(study.name, f"{study.name}: {error.strerror}")


def _before(
    scanner: Scanner, studies: Sequence[Study], folder: AnswerFolder, *, overwrite: bool
) -> dict[str, Answer]:
    """The answers that are there already; what else is there is refused before any work."""
    found: dict[str, Answer] = {}
    for study in studies:
        stamp = ""
        with contextlib.suppress(OSError):  # a file has gone: the study will be skipped
            stamp = scanner.stamp(study)
        if not overwrite and (answer := folder.answer(study.name, stamp)):
            found[study.name] = answer
            continue
        inputs = (*study.files, *filter(None, [scanner.lungs]))
        folder.refuse(study.name, inputs, stamp=stamp, overwrite=overwrite)
    return found


def _refuse(scanner: Scanner, studies: Sequence[Study]) -> None:
    if scanner.segmenter is not None:
        scanner.segmenter.require(studies)
    if scanner.lungs is not None and len(studies) != 1:
        raise ConfigError(
            f"--lungs {scanner.lungs}: is of one scan, but {len(studies)} are to be predicted; "
            "lay lung masks beside them, or predict one"
        )
    if scanner.lungs is not None and not scanner.lungs.is_file():
        raise DataError(f"--lungs {scanner.lungs}: there is no such file")
