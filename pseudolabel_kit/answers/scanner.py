"""A run and all that its answers depend on: one scan at a time, from files to files."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from torch import nn

from pseudolabel_kit import __version__
from pseudolabel_kit.answers.answer import Answer, slice_rows
from pseudolabel_kit.answers.folder import AnswerFolder, write_table, write_volume
from pseudolabel_kit.answers.lungs import lungs_of
from pseudolabel_kit.answers.reading import Reading, read_scan, volume_ml
from pseudolabel_kit.answers.segmentation import Segmenter
from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.engine.readout import as_numpy
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.scan import Series
from pseudolabel_kit.scans.study import Settings, Study


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """A run, and all that its answers to scans depend on.

    Attributes:
        settings: see `scans.inputs.settings_for`.
        lungs: a lung mask on the grid of the one scan; None takes those beside the scans, or
            finds them.
        segmenter: makes DICOM segmentations; None where none are wanted.
        batch_size: slices that are held on the device at once.
    """

    predictor: Predictor
    settings: Settings
    lungs: Path | None = None
    segmenter: Segmenter | None = None
    batch_size: int = 8

    @cached_property
    def made_by(self) -> dict[str, Any]:
        """What makes the answers: version, weights and settings, ready for JSON."""
        return {
            "version": __version__,
            "backbone": self.predictor.config.method.backbone,
            "step": self.predictor.step,
            "weights": _digest(self.predictor.model),
            "settings": asdict(self.settings),
        }

    @cached_property
    def maker(self) -> str:
        """A hash of that."""
        return hashlib.sha256(json.dumps(self.made_by).encode()).hexdigest()

    def stamp(self, study: Study) -> str:
        """A hash of all that a study's files depend on.

        Raises:
            OSError: a file has gone.
        """
        digest = hashlib.sha256(f"{self.maker} {study.stamp(self.settings)}".encode())
        digest.update(f" {self.segmenter}".encode())
        if self.lungs is not None:
            status = self.lungs.stat()
            digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
        return digest.hexdigest()

    def answer(self, study: Study, folder: AnswerFolder) -> Answer:
        """Read a study and write its files, its answer last.

        Raises:
            DataError: it cannot be used.
            OSError: a file has gone.
            RunError: the folder cannot be written.
        """
        stamp = self.stamp(study)
        slices = study.slices(self.settings)
        lungs = lungs_of(slices, self.lungs)
        reading = read_scan(
            self.predictor, slices, lungs=lungs, batch_size=self.batch_size, said=study.name
        )
        with folder.replacing(study.name) as aside:
            lesion_ml = self._write_volumes(reading, study, aside)
            task = self.predictor.task
            write_table(aside.file("slices", study.name), slice_rows(reading, task.classes))
            answer = Answer.of(
                reading, task, study=study.name, patient=study.patient, lesion_ml=lesion_ml
            )
            made = {"stamp": stamp, "maker": self.maker, "made_by": self.made_by}
            aside.finish(answer, {**made, **slices.facts})
        return answer

    def _write_volumes(self, reading: Reading, study: Study, folder: AnswerFolder) -> float | None:
        """Write mask and probability; what the mask marks, ml."""
        if (volumes := reading.on_scan()) is None:
            return None
        probability, mask = volumes
        if self.segmenter and isinstance(study, Series):
            try:
                self.segmenter.write(folder.file("segmentations", study.name), mask, study)
            except DataError as error:  # the answer is whole without it
                warnings.warn(str(error), stacklevel=2)
        write_volume(folder.file("masks", study.name), mask)
        scaled = sitk.Cast(sitk.Round(probability * 65535), sitk.sitkUInt16)
        write_volume(folder.file("probabilities", study.name), scaled)
        return volume_ml(mask)


def _digest(model: nn.Module) -> str:
    """A hash of a model's weights."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + as_numpy(tensor).tobytes())
    return digest.hexdigest()
