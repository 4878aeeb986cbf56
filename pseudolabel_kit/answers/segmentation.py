"""The mask of a DICOM series as a DICOM segmentation, which lies over the series' own images.

Unless the patient's identity is to be kept, of the series only those attributes are read that
place its images or refer to them: names, dates and numbers of the patient, the study and the
hospital are not. The UIDs of study and images stay, because by these the segmentation is found.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from pseudolabel_kit import __version__
from pseudolabel_kit.errors import ConfigError, DataError
from pseudolabel_kit.files import written_aside
from pseudolabel_kit.scans.scan import Series
from pseudolabel_kit.scans.series import in_order
from pseudolabel_kit.scans.study import Study

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom import Dataset

PLACING = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"),
    *("FrameOfReferenceUID", "Modality", "Rows", "Columns", "PixelSpacing", "SliceThickness"),
    *("SpacingBetweenSlices", "ImagePositionPatient", "ImageOrientationPatient"),
)
BLANK = (
    *("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName"),
)


@dataclass(frozen=True, kw_only=True)
class Segmenter:
    """How masks become DICOM segmentations.

    Attributes:
        keep_identity: the patient's, as an archive needs it to file the segmentation; otherwise
            the patient is known by the study's pseudonym.
    """

    keep_identity: bool = False

    def require(self, studies: Sequence[Study]) -> None:
        """Refuse what cannot be done before any work.

        Raises:
            ConfigError: highdicom is not installed, or a study is no DICOM series.
        """
        if find_spec("highdicom") is None:
            raise ConfigError(
                "--seg: highdicom is not installed: expected pip install 'pseudolabel-kit[seg]'"
            )
        for study in studies:
            if not isinstance(study, Series):
                raise ConfigError(f"--seg: {study.name} is no DICOM series; expected DICOM alone")

    def write(self, path: Path, mask: sitk.Image, study: Series) -> None:
        """Write a mask of 0 and 1 on the series' grid.

        Raises:
            DataError: the series cannot be read, or lacks what a segmentation must refer to.
            RunError: the file cannot be written.
        """
        # What the libraries say of odd headers quotes them.
        logging.getLogger("highdicom").setLevel(logging.CRITICAL)
        with warnings.catch_warnings(action="ignore"):
            try:
                segmentation = _segmentation(self._sources(study), sitk.GetArrayFromImage(mask))
            except (AttributeError, KeyError, TypeError, ValueError):
                raise DataError(
                    f"{study.said}: cannot have a DICOM segmentation: its headers lack what one "
                    "refers to, as FrameOfReferenceUID, or hold it wrongly"
                ) from None
            with written_aside(path) as aside:
                segmentation.save_as(aside)

    def _sources(self, study: Series) -> list[Dataset]:
        """The headers of the series' images, in the order of the mask's slices."""
        from pydicom import dcmread

        paths = [header.path for header in in_order(study.paths, study.said)]
        if self.keep_identity:
            images: list[Dataset] = [
                dcmread(path, stop_before_pixels=True, force=True) for path in paths
            ]
        else:
            images = [dcmread(path, specific_tags=list(PLACING), force=True) for path in paths]
        for image in images:
            for name in BLANK:  # attributes that a segmentation has, be they empty
                image.setdefault(name, "")
            if not self.keep_identity:
                image.PatientID = study.patient
            image.setdefault("PatientID", "")
        return images


def _segmentation(images: Sequence[Dataset], frames: NDArray[np.uint8]) -> Segmentation:
    from highdicom import UID
    from highdicom.seg import Segmentation, SegmentationTypeValues

    return Segmentation(
        source_images=images,
        pixel_array=frames,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_lesion()],
        series_instance_uid=UID(),
        series_number=1,
        sop_instance_uid=UID(),
        instance_number=1,
        manufacturer="pseudolabel-kit",
        manufacturer_model_name="pseudolabel-kit",
        software_versions=__version__,
        device_serial_number="0",
        series_description="lesion, by an automatic method",
        omit_empty_frames=bool(frames.any()),
    )


def _lesion() -> SegmentDescription:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
    from pydicom.sr.codedict import codes

    return SegmentDescription(
        segment_number=1,
        segment_label="lesion",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name="pseudolabel-kit",
            version=__version__,
            family=codes.DCM.ArtificialIntelligence,
        ),
    )
