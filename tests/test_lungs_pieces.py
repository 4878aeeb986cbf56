from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from lung_phantom import chest, dice
from PIL import Image

from pseudolabel_kit.cli.main import call
from pseudolabel_kit.data.table import read_table
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.lungs.agreement import agreement
from pseudolabel_kit.lungs.fill import fill
from pseudolabel_kit.lungs.methods import Threshold
from pseudolabel_kit.lungs.pieces import by_threshold, pieces


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chest with its windpipe, as an import leaves it; no slice alone has 100 ml of lung."""
    folder = tmp_path_factory.mktemp("imported")
    body = chest(depth=16, side=64)
    source = folder / "source"
    source.mkdir()
    for name, array in (("chest", body.hu), ("chest_lung", body.lungs.astype(np.uint8))):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((6.0, 6.0, 3.0))
        sitk.WriteImage(image, str(source / f"{name}.nii.gz"))
    line = ["data", "import", str(source), "--out", str(folder / "scans"), "--jobs", "1"]
    assert call([*line, "--spacing", "6,6,3", "--size", "64"]) == 0
    return folder / "scans"


def test_slices_of_a_scan_are_looked_at_together(imported: Path) -> None:
    lines = read_table(imported / "manifest.csv")
    (whole,) = pieces(imported, lines, range(len(lines)))
    assert whole.at == tuple(range(16))
    assert whole.scan is not None
    assert whole.scan.spacing == pytest.approx((6.0, 6.0, 3.0))
    found = np.stack(by_threshold(whole))
    truth = np.stack([np.asarray(Image.open(imported / line.region)) > 0 for line in lines])
    assert dice(found, truth) > 0.97


def test_rows_may_stand_in_another_order_or_be_left_out(imported: Path) -> None:
    lines = read_table(imported / "manifest.csv")[::-1][:-1]
    (some,) = pieces(imported, lines, range(len(lines)))
    assert [line.image for line in some.lines] == sorted(line.image for line in lines)
    assert some.lines == tuple(lines[i] for i in some.at)


def test_a_slice_is_found_as_in_its_whole_scan(imported: Path) -> None:
    """Whichever rows are chosen, and whichever the manifest still has."""
    lines = read_table(imported / "manifest.csv")
    found = by_threshold(*pieces(imported, lines, range(len(lines))))
    for rows, chosen in ((lines, [7]), (lines, [1, 13]), (lines[8:9], [0])):
        (some,) = pieces(imported, rows, chosen)
        assert len(some.lines) == len(chosen)
        for line, mask in zip(some.lines, by_threshold(some), strict=True):
            np.testing.assert_array_equal(mask, found[lines.index(line)])
            assert mask.any()


def test_a_slice_that_was_deleted_is_named(imported: Path) -> None:
    lines = read_table(imported / "manifest.csv")
    (some,) = pieces(imported, lines, [7])
    gone = imported / lines[3].image
    gone.rename(gone.with_suffix(".kept"))
    try:
        with pytest.raises(DataError, match=rf"studies/.*: image {lines[3].image} does not exist"):
            by_threshold(some)
    finally:
        gone.with_suffix(".kept").rename(gone)


def with_regions(imported: Path, rows: Collection[int]) -> Path:
    """A manifest in which these rows alone have a region."""
    text = ["image,region"]
    for i, line in enumerate(read_table(imported / "manifest.csv")):
        text.append(f"{line.image},{line.region if i in rows else ''}")
    (imported / "some.csv").write_text("\n".join(text) + "\n")
    return imported / "some.csv"


def test_the_one_row_without_a_region_is_filled(imported: Path) -> None:
    file = with_regions(imported, set(range(16)) - {8})
    filled = fill(file, Threshold(), out="one")
    assert (filled.made, filled.kept, filled.none_found) == (1, 15, ())


def test_the_one_row_with_a_region_is_compared(imported: Path) -> None:
    file = with_regions(imported, {8})
    (overlap,) = agreement(file, [Threshold()], lambda *at: None).overlaps["threshold"]
    assert overlap.dice > 0.97


def test_a_damaged_study_is_named(imported: Path) -> None:
    lines = read_table(imported / "manifest.csv")
    broken = imported / "studies/broken.json"
    broken.write_text('{"hu": true, "geometry": 3, "window": {"level": 1, "width": 2}}')
    try:
        with pytest.raises(DataError, match=r"broken\.json: is damaged"):
            pieces(imported, lines, range(3))
    finally:
        broken.unlink()


def test_a_whole_scan_is_filled(imported: Path) -> None:
    """By the scan in 3-D, named as its slices are."""
    file = imported / "manifest.csv"
    lines = read_table(file)
    file.write_text("image\n" + "".join(f"{line.image}\n" for line in lines))
    filled = fill(file, Threshold(), out="found")
    assert filled.made >= 14, "but for the tips of the lungs"
    made = [line.region for line in read_table(file) if line.region]
    assert made[5] == lines[int(made[5][-8:-4])].image.replace("images/", "found/")
    assert dice_of(imported, made) > 0.97


def dice_of(folder: Path, made: list[str]) -> float:
    def stack(names: list[str]) -> np.ndarray:
        return np.stack([np.asarray(Image.open(folder / name)) > 0 for name in names])

    return dice(stack(made), stack([name.replace("found/", "regions/") for name in made]))
