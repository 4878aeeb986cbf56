"""DICOM series: in order whatever their names, and refused where they are no volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scans_support import chest, placed, write_series

from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.geometry import Grid
from pseudolabel_kit.scans.series import read_series

IMAGE = chest().image


def test_slices_in_any_order_are_the_volume_in_hu(tmp_path: Path) -> None:
    paths = write_series(tmp_path, IMAGE)
    assert [path.name for path in sorted(paths)] != [path.name for path in paths]
    for order in (paths, paths[::-1], sorted(paths)):
        image = read_series(order, "")
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(IMAGE))
        assert Grid.of(image).farthest(Grid.of(IMAGE)) < 1e-4


@pytest.mark.parametrize("orientation", ["LPS", "SAL", "RAS"])
def test_oblique_series_keep_their_place(orientation: str, tmp_path: Path) -> None:
    turned = sitk.Euler3DTransform((0, 0, 0), 0.1, -0.2, 0.3).GetMatrix()
    image = placed(sitk.GetArrayFromImage(IMAGE), (0.8, 0.8, 3))
    image.SetDirection(turned)
    image = sitk.DICOMOrient(image, orientation)
    read = read_series(write_series(tmp_path, image), "")
    assert Grid.of(read).farthest(Grid.of(image)) < 1e-3
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(image))


def test_every_slice_has_a_slope_of_its_own(tmp_path: Path) -> None:
    even = sitk.Cast(IMAGE / 2, sitk.sitkInt16) * 2
    paths = write_series(tmp_path, even, slices=range(4))
    double = {"0028|1053": "2", "0028|1052": "-2000"}
    paths += write_series(tmp_path, even, slices=range(4, 8), tags=double)
    read, true = (sitk.GetArrayFromImage(each) for each in (read_series(paths, ""), even))
    np.testing.assert_array_equal(read, true)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([{"slices": [0, 1, 2, 5, 6, 7]}], "missing slices: 30.0 mm from the one at 120.0 mm"),
        ([{"shear": 2}], "gantry tilt: slices are shifted by 11.3°"),
        ([{"tags": {"0008|0060": "MR"}}], "modality MR; expected CT"),
        ([{"slices": [0]}], "a single slice; expected a volume"),
        ([{}, {"first": 90}], "several slices at 100.0 mm; expected one"),
        ([{}, {"first": 90, "image": chest((16, 20, 8)).image}], "slices of 2"),
        ([{}, {"first": 90, "image": chest(spacing=(7, 7, 10)).image}], "of different sizes"),
        ([{}, {"first": 90, "image": sitk.DICOMOrient(chest((8, 8, 8), (8, 8, 8)).image, "SAL")}],
         "mixed series"),
        ([{"slices": [0, 1, 2]}, {"slices": [3], "first": 90, "shear": 4}], "gantry tilt"),
    ],
)  # fmt: skip
def test_what_is_no_volume_is_refused(
    parts: list[dict[str, Any]], said: str, tmp_path: Path
) -> None:
    paths = []
    for part in parts:
        paths += write_series(tmp_path, part.pop("image", IMAGE), **part)
    with pytest.raises(DataError) as caught:
        read_series(paths, "series x in CT1")
    message = str(caught.value)
    assert message.startswith("series x in CT1: ")
    assert said in message
    assert "\n" not in message


def test_slices_at_uneven_distances(tmp_path: Path) -> None:
    paths = write_series(tmp_path, IMAGE, slices=range(4))
    moved = sitk.Image(IMAGE)
    moved.SetOrigin((*IMAGE.GetOrigin()[:2], IMAGE.GetOrigin()[2] + 2))
    paths += write_series(tmp_path, moved, slices=range(4, 8))
    with pytest.raises(DataError, match=r"slices lie 10\.00 to 12\.00 mm apart"):
        read_series(paths, "x")


def test_slices_that_are_turned(tmp_path: Path) -> None:
    paths = write_series(tmp_path, IMAGE, slices=range(4))
    turned = sitk.Image(IMAGE)
    turned.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.02, 0, 0).GetMatrix())
    paths += write_series(tmp_path, turned, slices=range(4, 8))
    with pytest.raises(DataError, match="turned against each other"):
        read_series(paths, "x")


def test_a_damaged_slice(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    paths = write_series(tmp_path, IMAGE)
    paths[3].write_bytes(paths[3].read_bytes()[:-300])
    with pytest.raises(DataError, match="x: cannot be read; it is truncated, damaged or empty"):
        read_series(paths, "x")
    assert capfd.readouterr().err == ""
