from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from lung_dataset import BODY, EXPERT, WITH_LUNGS, write_chest
from lung_phantom import dice
from PIL import Image

from pseudolabel_kit.errors import ConfigError, DataError, RunError
from pseudolabel_kit.lungs.fill import DRAFTS, fill
from pseudolabel_kit.lungs.methods import Found, Method, Threshold
from pseudolabel_kit.lungs.pieces import Piece


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


def region(folder: Path, row: dict[str, str]) -> np.ndarray:
    return np.asarray(Image.open(folder / row["region"])) > 0


@dataclass(frozen=True, kw_only=True)
class Stops(Method):
    """Finds a box in so many rows, and then cannot go on."""

    after: int
    asked: list[int]

    @property
    def name(self) -> str:
        return "box"

    def find(self, pieces: Sequence[Piece]) -> Found:
        for piece in pieces:
            for i in piece.at:
                if len(self.asked) == self.after:
                    raise DataError("stopped")
                self.asked.append(i)
                yield i, np.pad(np.ones((8, 8), bool), 28)


def test_rows_without_a_region_get_one(tmp_path: Path) -> None:
    file = write_chest(tmp_path)
    before = rows(file)
    told: list[tuple[int, int]] = []
    filled = fill(file, Threshold(), progress=lambda *at: told.append(at))
    assert (filled.made, filled.kept) == (4, 2)
    assert filled.none_found == ("images/muscle.png",)
    assert told[-1] == (5, 5)
    after = rows(file)
    for i, row in zip(WITH_LUNGS, after, strict=False):
        assert dice(region(tmp_path, row), BODY.lungs[i]) > 0.9
        assert row["region"] == (f"lung/{i}.png" if i in EXPERT else f"regions/{i}.png")
        assert row["region_by"] == ("" if i in EXPERT else "threshold")
    assert after[-1]["region"] == after[-1]["region_by"] == ""
    untouched = ("image", "note", "patient", "split")
    assert [[row[c] for c in untouched] for row in after] == [
        [row[c] for c in untouched] for row in before
    ]
    assert not (tmp_path / DRAFTS).exists()


def test_what_is_there_is_replaced_only_if_that_is_wanted(tmp_path: Path) -> None:
    file = write_chest(tmp_path)
    fill(file, Threshold())
    once = file.read_bytes()
    assert fill(file, Threshold()).made == 0
    assert file.read_bytes() == once
    filled = fill(file, Threshold(jobs=2), overwrite=True)
    assert (filled.made, filled.kept) == (6, 0)
    assert {row["region_by"] for row in rows(file)[:-1]} == {"threshold"}
    assert (tmp_path / "lung/2.png").exists(), "the expert's file is another one"


def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pseudolabel_kit.lungs.pieces.TOGETHER", 2)
    file = write_chest(tmp_path)
    before = file.read_bytes()
    with pytest.raises(DataError, match="stopped"):
        fill(file, Stops(after=3, asked=[]))
    assert file.read_bytes() == before
    assert not (tmp_path / "regions").exists()
    again: list[int] = []
    assert fill(file, Stops(after=99, asked=again)).made == 5
    assert again == [4, 5, 6], "of five rows, the first two were done"


def test_a_file_that_nobody_named_is_not_written_over(tmp_path: Path) -> None:
    file = write_chest(tmp_path)
    (tmp_path / "regions").mkdir()
    (tmp_path / "regions/4.png").write_text("mine")
    before = file.read_bytes()
    with pytest.raises(RunError, match=r"4\.png: exists already"):
        fill(file, Threshold())
    assert file.read_bytes() == before
    assert [path.name for path in (tmp_path / "regions").iterdir()] == ["4.png"]
    assert fill(file, Threshold(), out="more/lungs").made == 4
    assert rows(file)[0]["region"] == "more/lungs/1.png"


@pytest.mark.parametrize("out", ["", ".", "..", "a/../..", "/tmp", "away"])
def test_regions_stay_in_the_folder(tmp_path: Path, out: str) -> None:
    file = write_chest(tmp_path / "scans")
    (tmp_path / "scans/away").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="expected a folder below"):
        fill(file, Threshold(), out=out)


def test_names_that_differ_in_their_format_alone_stay_apart(tmp_path: Path) -> None:
    file = write_chest(tmp_path)
    Image.open(tmp_path / "images/1.png").save(tmp_path / "images/1.tif")
    file.write_text("image\nimages/1.png\nimages/1.tif\nimages/4.png\n")
    assert fill(file, Threshold()).made == 3
    names = [row["region"] for row in rows(file)]
    assert names == ["regions/1.png.png", "regions/1.tif.png", "regions/4.png"]
