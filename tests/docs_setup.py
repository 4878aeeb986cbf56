"""What a reader has before a block begins: `<!-- setup: NAME -->` calls a function here."""

from __future__ import annotations

from pathlib import Path

from docs_shell import shortened
from PIL import Image
from tiny import usual_lines, write_dataset

from pseudolabel_kit.cli.main import call


def my_scans() -> None:
    """A folder of images with a manifest."""
    Path("my-scans").mkdir()
    write_dataset(Path("my-scans"), usual_lines())


def first_run() -> None:
    """A run that has ended, and an image that it has not seen."""
    line = ["train", "--out", "runs/first"]
    assert call([*line, *shortened(line)]) == 0
    Image.new("L", (32, 32), 90).save("scan.png")
