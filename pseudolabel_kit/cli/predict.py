"""`plk predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from pseudolabel_kit.cli.options import Checkpoint, Spacing, Which, WindowText, spacing_of
from pseudolabel_kit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pseudolabel_kit.scans.study import Skipped, Study

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EPILOG = """
\b
Written into DIR of scans, which are read as the run's dataset was imported:
  studies.csv                 class, ml of lesion, share of the lung; a line a study
  answers/STUDY.json          the same, and how it came about
  slices/STUDY.csv            class and lesion of each axial slice
  masks/STUDY.nii.gz          0 or 1, on the scan's own voxels
  probabilities/STUDY.nii.gz  16 bit, 65535 = 1: the decoder's probability of a lesion
  segmentations/STUDY.dcm     the mask as a DICOM segmentation (--seg)

\b
Written into DIR of pictures, each in its image's own size:
  classes.csv             image, predicted class, one probability column a class
  masks/NAME.png          0 or 255: what plk evaluate counts as lesion
  probabilities/NAME.png  16 bit, 65535 = 1: the decoder's probability of a lesion
  decoder/NAME.png        that probability over the grey image, the mask outlined
  evidence/REF/NAME.png   an explainer's evidence over the grey image

\b
A patient's class is the mean over the tenth of the slices that look most like a lesion. A scan
that cannot be used is named with the reason, and the exit code is 1. The same line goes on where
it was stopped.

\b
Examples:
  plk predict runs/first scan.nii.gz --out answers
  plk predict runs/first hospital/ --out answers --seg
  plk predict runs/first ct.nrrd --lungs lungs.nrrd --out answers --window=-500/1400
  plk predict runs/first scan.png --out predictions
  plk predict runs/first scans/ more/x.tif --out predictions --overwrite
  plk predict runs/first scans/ --out predictions --checkpoint last --batch-size 2
"""

Inputs: TypeAlias = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT",
        help="NIfTI, NRRD or MHA volumes, DICOM series, PNG, JPEG, TIFF or NPY files, "
        "or folders of them.",
    ),
]
Lungs: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A lung mask of the one scan; default: those beside scans, else by threshold.",
    ),
]

Seg: TypeAlias = Annotated[
    bool, typer.Option("--seg", help="Also write masks of DICOM series as segmentations.")
]
KeepIdentity: TypeAlias = Annotated[
    bool, typer.Option("--keep-identity", help="Name the patient in them as the series does.")
]
BatchSize: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Images or slices held in memory at once.")
]
Overwrite: TypeAlias = Annotated[
    bool, typer.Option("--overwrite", help="Replace outputs that are there already.")
]


@app.command(epilog=EPILOG)
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")],
    inputs: Inputs,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write into.")],
    window: WindowText = None,
    spacing: Spacing = None,
    lungs: Lungs = None,
    seg: Seg = False,
    keep_identity: KeepIdentity = False,
    checkpoint: Checkpoint = Which.BEST,
    batch_size: BatchSize = 8,
    overwrite: Overwrite = False,
) -> None:
    """Write masks, volumes and classes for scans and images.

    Images are resized to the run's size, and what is found is resized back.
    """
    from pseudolabel_kit.engine.images import find_images
    from pseudolabel_kit.scans.inputs import find_studies, settings_for
    from pseudolabel_kit.scans.window import wanted

    shown = None if window is None else wanted(window)
    voxels = None if spacing is None else spacing_of(spacing)
    found = find_studies(inputs, skip=out)  # before torch is imported and weights are read
    pictures = find_images(found.pictures, skip=out)
    given = {"--seg": seg, "--lungs": lungs, "--window": window, "--spacing": spacing}
    _refuse(found.studies, given, keep_identity=keep_identity)
    from pseudolabel_kit.answers.scanner import Scanner
    from pseudolabel_kit.answers.segmentation import Segmenter
    from pseudolabel_kit.cli import predicting
    from pseudolabel_kit.engine.predict import load

    predictor = load(run, which=checkpoint.value)
    unused: Sequence[Skipped] = []
    if found.studies:
        scanner = Scanner(
            predictor=predictor,
            settings=settings_for(predictor.imported, window=shown, spacing=voxels),
            lungs=lungs,
            segmenter=Segmenter(keep_identity=keep_identity) if seg else None,
            batch_size=batch_size,
        )
        unused = predicting.scans(scanner, found.studies, out, overwrite=overwrite)
    if pictures:
        predicting.pictures(predictor, pictures, out, batch_size=batch_size, overwrite=overwrite)
    skipped = [*found.skipped, *unused]
    predicting.say_skipped(skipped)
    if len(unused) == len(found.studies) > 0 and not pictures:
        raise DataError(f"none of {len(unused)} studies can be used")
    raise typer.Exit(1 if skipped else 0)


def _refuse(studies: Sequence[Study], given: Mapping[str, object], *, keep_identity: bool) -> None:
    """Options that would be of no effect, as those of scans are on pictures."""
    if keep_identity and not given["--seg"]:
        raise ConfigError("--keep-identity is of DICOM segmentations; expected --seg with it")
    for option, value in given.items():
        if value and not studies:
            raise ConfigError(f"{option} is of scans, and INPUT holds none; leave it out")
