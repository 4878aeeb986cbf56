"""What a reader has before a block begins: `<!-- setup: NAME -->` calls a function here."""

from __future__ import annotations

from pathlib import Path

from docs_shell import shortened
from lung_dataset import write_chest
from PIL import Image
from scans_support import chest, write, write_covid, write_series
from tiny import usual_lines, write_dataset

from pseudolabel_kit.cli.main import call


def my_scans() -> None:
    """A folder of images with a manifest."""
    Path("my-scans").mkdir()
    write_dataset(Path("my-scans"), usual_lines())


def hospital() -> None:
    """The folders of COVID-19-CT-Seg, and a tree of DICOM series of which one can be used."""
    spacing = (2.0, 2.0, 2.0)
    write_covid(Path("COVID-19-CT-Seg"), *(f"case{i}" for i in range(1, 5)), spacing=spacing)
    image = chest(spacing=spacing).image
    write_series(Path("hospital/Doe_Jane/CT"), image, uid="1.1")
    write_series(Path("hospital/Doe_Jane/MR"), image, uid="1.2", tags={"0008|0060": "MR"})
    write_series(Path("hospital/Doe_Jane/CT2"), image, uid="1.3", slices=[0, 1, 2, 5, 6, 7])


def imported_run() -> None:
    """A run that was trained on scans that were imported, and a new scan."""
    line = ["data", "import", "COVID-19-CT-Seg", "--out", "small"]
    assert call([*line, "--spacing", "2", "--size", "32", "--jobs", "1"]) == 0
    line = ["train", "--data", "small", "--out", "runs/covid"]
    assert call([*line, *shortened(line)]) == 0
    scan = chest(spacing=(2.0, 2.0, 2.0), seed=9)
    write(scan.image, Path("new.nii.gz"))
    write(scan.lungs, Path("new-lungs.nii.gz"))


def slices() -> None:
    """Slices of a chest, of which two have a lung mask."""
    write_chest(Path("slices"))


def first_run() -> None:
    """A run that has ended, and an image that it has not seen."""
    line = ["train", "--out", "runs/first"]
    if not Path("runs/first").exists():  # made for a section above
        assert call([*line, *shortened(line)]) == 0
    Image.new("L", (32, 32), 90).save("scan.png")
