"""`plk data import`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from pseudolabel_kit.cli.options import spacing_of
from pseudolabel_kit.scans.choices import Bits, LabelFrom, LayoutName

if TYPE_CHECKING:
    from pseudolabel_kit.scans.importing import Imported

EPILOG = """
\b
Layouts, which are recognised:
  decathlon  imagesTr, labelsTr and dataset.json; nnU-Net's, with _0000 channels
  dicom      CT series, several in one tree, slices in any order
  volumes    NIfTI, NRRD or MHA, with lung and infection masks beside them
  coco       pictures, and JSON files that outline lesions in them
  pictures   PNG, JPEG or TIFF, and folders of masks: images/x.png and masks/x.png
  classes    a folder of pictures for each class

\b
Written into DATASET:
  manifest.csv        what plk train --data DATASET reads; fill its column split, or leave it
  images/STUDY/*.png  axial slices; masks/ and regions/ (lungs) likewise
  studies/STUDY.json  where its slices lie in the scan, so that a mask finds its way back

\b
A study that cannot be used is named with the reason, and the exit code is 1. The same line goes
on where it was stopped.

\b
Examples:
  plk data import COVID-19-CT-Seg --out covid
  plk data import hospital/ --out scans --window mediastinal --jobs 4
  plk data import Task06_Lung --out lung --label-from lesion --spacing 1,1,2.5
  plk data import scans/ --out grey --window=-500/1400 --bits 16 --size 256
"""


Layout: TypeAlias = Annotated[
    LayoutName | None, typer.Option(help="What SOURCE is; default: recognised.")
]
WindowText: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="HU that are shown: lung (default), mediastinal, LEVEL/WIDTH; percentile: without HU."
    ),
]
Spacing: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="MM", help="Of the volume that is sliced: 1 (default), or 1,1,2.5."),
]
Size: TypeAlias = Annotated[
    int, typer.Option(min=16, max=4096, help="Pixels a side; slices are padded to squares.")
]
Classes: TypeAlias = Annotated[
    LabelFrom | None,
    typer.Option(help="Classes: lesion and no_lesion by the mask, or SOURCE's folders."),
]
Lesion: TypeAlias = Annotated[
    list[int] | None,
    typer.Option(
        metavar="VALUE", help="A mask's value, or a COCO category, that is lesion; default: all."
    ),
]
Jobs: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes, each with a scan in memory; default: one a core.",
        show_default=False,
    ),
]


def import_scans(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="The folder of scans or pictures.")
    ],
    out: Annotated[Path, typer.Option(metavar="DATASET", help="The folder to write.")],
    layout: Layout = None,
    window: WindowText = None,
    spacing: Spacing = None,
    size: Size = 224,
    bits: Annotated[Bits, typer.Option(help="Of a grey value.")] = Bits.EIGHT,
    label_from: Classes = None,
    lesion: Lesion = None,
    jobs: Jobs = None,
) -> None:
    """Make a dataset of scans or pictures: axial slices, masks and a manifest.

    Patients of DICOM files are known by a hash that is salted for this dataset.
    """
    from pseudolabel_kit.cli import console
    from pseudolabel_kit.cli.display import progress_bar
    from pseudolabel_kit.scans import importing
    from pseudolabel_kit.scans.study import Settings
    from pseudolabel_kit.scans.window import wanted

    given = {"--window": window, "--spacing": spacing, "--lesion": lesion}
    settings = Settings(
        spacing=spacing_of("1" if spacing is None else spacing),
        size=size,
        window=wanted("lung" if window is None else window),
        bits=int(bits),
        lesion=tuple(lesion or ()),
        label_from=label_from,
    )
    with progress_bar() as bar:
        task = bar.add_task("importing", total=None)
        imported = importing.import_scans(
            source,
            out,
            settings,
            layout=layout,
            chosen=[name for name, value in given.items() if value is not None],
            jobs=jobs or importing.cores(),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for each in imported.skipped:
        console.err.print(f"skipped: {each.reason}", markup=False, soft_wrap=True)
    for line in [*_told(imported, size), f"manifest: {out / importing.MANIFEST}"]:
        console.out.print(line, markup=False, soft_wrap=True)
    raise typer.Exit(1 if imported.skipped else 0)


def _told(imported: Imported, size: int) -> Iterator[str]:
    kept = f" ({imported.kept} done before)" if imported.kept else ""
    counts = Counter(row["label"] for row in imported.rows if row["label"])
    classes = "".join(f", {count} {label}" for label, count in sorted(counts.items()))
    skipped = f"; {len(imported.skipped)} skipped" if imported.skipped else ""
    noun = "study" if imported.studies == 1 else "studies"
    studies = f"{imported.layout}: {imported.studies} {noun}{kept}{skipped}"
    yield f"{studies}; {len(imported.rows)} images{classes}"
    if imported.thin:
        masked = sum(bool(row["mask"]) for row in imported.rows)
        yield (
            f"{imported.thin} of {masked} masks show a lesion thinner than a pixel at {size} px: "
            "it is kept as the pixels that it touches"
        )
