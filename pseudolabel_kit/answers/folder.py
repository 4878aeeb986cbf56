"""The folder of answers to scans; each file is whole or absent.

studies.csv                 one line a study
answers/STUDY.json          the same and how it came about; written last: the study is done
slices/STUDY.csv            one line a slice
masks/STUDY.nii.gz          0 or 1, on the scan's own voxels
probabilities/STUDY.nii.gz  uint16, 65535 = 1: the decoder's probability of a lesion, likewise
segmentations/STUDY.dcm     the mask as a DICOM segmentation, where it is asked for
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from pydantic import TypeAdapter, ValidationError

from pseudolabel_kit.answers.answer import Answer
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.files import write_text, written_aside

TABLE = "studies.csv"
ANSWERS = "answers"
ASIDE = ".part"  # what is not whole yet
SUFFIXES = {
    ANSWERS: ".json",
    "slices": ".csv",
    "masks": ".nii.gz",
    "probabilities": ".nii.gz",
    "segmentations": ".dcm",
}
REPLACE = "replace with --overwrite, or choose another --out"


@dataclass(frozen=True)
class AnswerFolder:
    """Where answers are written, and what was before.

    Attributes:
        path: the folder.
    """

    path: Path

    def file(self, kind: str, study: str) -> Path:
        """One of a study's files."""
        return self.path / kind / f"{study}{SUFFIXES[kind]}"

    def answer(self, study: str, stamp: str) -> Answer | None:
        """What was answered before to the same question, or None where a file of it is gone."""
        facts = _facts(self.file(ANSWERS, study))
        if not facts or facts.get("stamp") != stamp or facts.get("files") != self._written(study):
            return None
        return _answer(facts)

    def refuse(
        self, study: str, inputs: Iterable[Path], *, stamp: str = "", overwrite: bool
    ) -> None:
        """Say why a study's answer cannot be written here.

        Files without `answers/STUDY.json`, left by a process that was stopped, are in nobody's
        way, nor is what is left of an answer to the same question, by its `stamp`.

        Raises:
            RunError: something else is there, or one of the inputs.
        """
        there = [path for kind in SUFFIXES if (path := self.file(kind, study)).exists()]
        read = {path.resolve() for path in inputs}
        if taken := [path for path in there if path.resolve() in read]:
            raise RunError(f"{taken[0]}: is a file to predict from; choose another --out")
        if overwrite or not there:
            return
        if there[0] == self.file(ANSWERS, study):
            if stamp and (_facts(there[0]) or {}).get("stamp") == stamp:
                return
            told = "is the answer of another run, to another scan or by other settings"
            raise RunError(f"{there[0]}: {told}; {REPLACE}")
        if not (self.path / ANSWERS).is_dir():
            raise RunError(f"{there[0]}: exists already; {REPLACE}")

    @contextmanager
    def replacing(self, study: str) -> Iterator[AnswerFolder]:
        """A folder to write a study's files into, which take their places when all are whole.

        Raises:
            RunError: the folder cannot be written.
        """
        aside = AnswerFolder(self.path / ASIDE)
        try:
            shutil.rmtree(aside.path, ignore_errors=True)  # of a process that was stopped
            yield aside
            self._take(aside, study)
        finally:
            shutil.rmtree(aside.path, ignore_errors=True)

    def _take(self, aside: AnswerFolder, study: str) -> None:
        """Move a study's files here: until its answer, the last, has come it is not done."""
        try:
            (self.path / ANSWERS).mkdir(parents=True, exist_ok=True)
            self.file(ANSWERS, study).unlink(missing_ok=True)
            for kind in reversed(SUFFIXES):
                file = self.file(kind, study)
                if aside.file(kind, study).exists():
                    file.parent.mkdir(exist_ok=True)
                    aside.file(kind, study).replace(file)
                else:
                    file.unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written: {error.strerror}") from None

    def _written(self, study: str) -> list[str]:
        """The kinds of files that a study has apart from its answer; one may be corrected since."""
        found = {kind: self.file(kind, study) for kind in SUFFIXES if kind != ANSWERS}
        return [kind for kind, file in found.items() if file.is_file() and file.stat().st_size]

    def finish(self, answer: Answer, facts: Mapping[str, Any]) -> None:
        """Write the answer and how it came about: the study is done."""
        told = {"predicted": answer.predicted, "answer": asdict(answer)}
        content = {**facts, "files": self._written(answer.study), **told}
        write_text(self.file(ANSWERS, answer.study), json.dumps(content, indent=1) + "\n")

    def tabulate(self, maker: str) -> int:
        """Write `studies.csv`: every answer here by one run and its settings.

        Returns:
            How many answers by others are here, which are not in it.
        """
        files = sorted((self.path / ANSWERS).glob("*.json"))
        every = [facts for facts in map(_facts, files) if facts]
        mine = [facts for facts in every if facts.get("maker") == maker]
        if rows := [answer.row() for facts in mine if (answer := _answer(facts))]:
            write_table(self.path / TABLE, rows)
        return len(every) - len(mine)


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """A CSV file of rows that have the same columns."""
    lines = list(rows)
    with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def write_volume(path: Path, image: sitk.Image) -> None:
    """A compressed NIfTI file.

    Raises:
        RunError: it cannot be written.
    """
    with written_aside(path) as aside:
        named = aside.with_name(f"{aside.name}.nii.gz")  # the format is told by the name
        try:
            sitk.WriteImage(image, str(named), useCompression=True)
            named.replace(aside)
        except RuntimeError:
            raise RunError(f"{path}: cannot be written: is the disk full?") from None
        finally:
            named.unlink(missing_ok=True)


def _facts(file: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def _answer(facts: Mapping[str, Any]) -> Answer | None:
    try:
        return TypeAdapter(Answer).validate_python(facts.get("answer"))
    except ValidationError:
        return None
