"""`plk explain`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from pseudolabel_kit.cli.options import (
    Checkpoint,
    References,
    Side,
    Spacing,
    Which,
    WindowText,
    spacing_of,
)
from pseudolabel_kit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pseudolabel_kit.engine.predict import Predictor
    from pseudolabel_kit.scans.study import Settings, Skipped
    from pseudolabel_kit.viewer.inputs import Found
    from pseudolabel_kit.viewer.stack import Stack
    from pseudolabel_kit.viewer.writing import Written

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EPILOG = """
\b
INPUT is a volume (NIfTI, NRRD, MHA), a DICOM series or a folder of them; pictures, those of a
folder being one study; or a dataset: its folder, its manifest, or its reference. A study of a
dataset is what its column study or volume names, else a patient, who is numbered.

\b
Written into DIR:
  STUDY.html   slices to page through, overlays, agreement, a table to jump by; opens from disk
  index.html   a card for each study, where there are several
Studies that are done are kept when the line is run again. One that cannot be used is named
with the reason, and the exit code is 1.

\b
Examples:
  plk explain runs/first scan.nii.gz --out explained
  plk explain runs/first dicom/ pictures/ --explainer ig,caam,gradcam --out explained
  plk explain runs/first scans/ --split test --truth --out explained
  plk explain runs/first scans/ --patient P07 --out explained --overwrite
"""


Inputs: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="INPUT", help="Scans, pictures, or datasets.")
]
OneSide: TypeAlias = Annotated[
    Side | None, typer.Option(help="Of a dataset, the images of one side alone.")
]
OnePatient: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of a dataset, those of one patient alone.")
]
Truth: TypeAlias = Annotated[
    bool,
    typer.Option("--truth", help="Show the masks and classes of datasets, and masks beside scans."),
]


@app.command(epilog=EPILOG)
def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")],
    inputs: Inputs,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write into.")],
    explainer: References = None,
    split: OneSide = None,
    patient: OnePatient = None,
    truth: Truth = False,
    window: WindowText = None,
    spacing: Spacing = None,
    checkpoint: Checkpoint = Which.BEST,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Do studies again that are done already.")
    ] = False,
) -> None:
    """Show what a run answers, and why: a page a study, to page through its slices.

    A page holds all it shows: it needs no server and no network.
    """
    from pseudolabel_kit.cli.display import stages
    from pseudolabel_kit.viewer.inputs import find

    found = find(inputs, out=out)  # before torch is imported and weights are read
    if not found.datasets and (split or patient):
        raise ConfigError("--split and --patient: expected a dataset among INPUT")
    if truth and not (found.datasets or found.studies):
        raise ConfigError("--truth: expected a dataset or scans among INPUT")
    from pseudolabel_kit.audit.parts import choose
    from pseudolabel_kit.engine.predict import load
    from pseudolabel_kit.viewer.writing import write_pages

    predictor = load(run, which=checkpoint.value)
    explainers = choose(predictor, explainer, None).explainers
    narrowed = {"split": split and split.value, "patient": patient, "truth": truth}
    studies = _stacks(found, predictor, narrowed, _settings(found, predictor, window, spacing))
    with ExitStack() as stack:
        written = write_pages(
            run, predictor, explainers, studies, out, overwrite=overwrite, told=stages(stack)
        )
    _tell(written, found.skipped, out)


def _settings(
    found: Found, predictor: Predictor, window: str | None, spacing: str | None
) -> Settings | None:
    """How scans are read, where there are any."""
    if not found.studies:
        return None
    from pseudolabel_kit.scans.inputs import settings_for
    from pseudolabel_kit.scans.window import wanted

    return settings_for(
        predictor.imported,
        window=None if window is None else wanted(window),
        spacing=None if spacing is None else spacing_of(spacing),
    )


def _stacks(
    found: Found, predictor: Predictor, narrowed: dict[str, Any], settings: Settings | None
) -> list[Stack]:
    from pseudolabel_kit.viewer import datasets, pictures, scans
    from pseudolabel_kit.viewer.stack import apart

    data = predictor.config.data
    studies = [each for name in found.datasets for each in datasets.stacks(name, data, **narrowed)]
    if settings is not None:
        studies += scans.stacks(found.studies, settings, data, truth=narrowed["truth"])
    shown = pictures.stacks(found.pictures, data, padded=predictor.padded)
    return apart([*studies, *shown])


def _tell(written: Written, skipped: Sequence[Skipped], out: Path) -> None:
    from pseudolabel_kit.cli import console

    skipped = [*skipped, *written.skipped]
    for each in skipped:
        console.err.print(f"skipped: {each.reason}", markup=False, soft_wrap=True)
    count = len(written.cards)
    noun = "study" if count == 1 else "studies"
    kept = f" ({written.kept} done before)" if written.kept else ""
    left = f"; {len(skipped)} skipped" if skipped else ""
    total = sum(card.count for card in written.cards)
    slices = "slice" if total == 1 else "slices"
    console.out.print(f"{count} {noun}{kept}{left}; {total} {slices}", soft_wrap=True)
    shown = written.index or (out / f"{written.cards[0].name}.html" if count else None)
    if shown:
        console.out.print(f"open: {shown}", markup=False, soft_wrap=True)
    raise typer.Exit(1 if skipped else 0)
