"""Studies where a command line names them: datasets, scans and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pseudolabel_kit.engine.images import find_images
from pseudolabel_kit.scans.inputs import find_studies
from pseudolabel_kit.scans.study import Skipped, Study


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was named; nothing of it is read yet.

    Attributes:
        datasets: manifests, their folders, and references such as "phantom:size=64".
        studies: volumes and DICOM series.
        skipped: what lies among them and is none.
        pictures: image files, each once.
    """

    datasets: Sequence[str]
    studies: Sequence[Study]
    skipped: Sequence[Skipped]
    pictures: Sequence[Path]


def find(inputs: Sequence[str], *, out: Path) -> Found:
    """Tell datasets, scans and pictures from each other.

    Args:
        out: where pages go: what lies in it is left out.

    Raises:
        DataError: a path is missing or holds nothing of these.
    """
    datasets = [each for each in inputs if manifest_of(each) or _is_reference(each)]
    found = find_studies([Path(each) for each in inputs if each not in datasets], skip=out)
    return Found(
        datasets=datasets,
        studies=found.studies,
        skipped=found.skipped,
        pictures=find_images(found.pictures, skip=out),
    )


def manifest_of(source: str) -> Path | None:
    """The manifest that a path is or holds, or None."""
    path = Path(source).expanduser()
    file = path if path.suffix == ".csv" else path / "manifest.csv"
    return file if file.is_file() else None


def _is_reference(text: str) -> bool:
    """Whether a text can be no path: "phantom" or "phantom:size=64", where no such file is."""
    name = text.partition(":")[0]
    return not Path(text).exists() and not set("/\\.") & set(name)
