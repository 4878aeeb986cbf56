"""Scans as studies of pages: what the run sees of them, and their truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from answers_support import HALF, ball, volume

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.scans.inputs import DEFAULTS
from pseudolabel_kit.scans.scan import Scan
from pseudolabel_kit.viewer.scans import stacks
from pseudolabel_kit.viewer.stack import Slice, Stack

SETTINGS = replace(DEFAULTS, size=32, window=HALF, spacing=(2, 2, 2))
PLAIN, BLACK = DataConfig(), DataConfig(region="black")


def read(stack: Stack) -> list[Slice]:
    count, slices = stack.slices()
    found = list(slices)
    assert len(found) == count
    return found


def half(image: sitk.Image, path: Path) -> Path:
    """A mask of the image's right half."""
    values = np.zeros(image.GetSize()[::-1], np.uint8)
    values[:, :, values.shape[2] // 2 :] = 1
    mask = sitk.GetImageFromArray(values)
    mask.CopyInformation(image)
    sitk.WriteImage(mask, str(path))
    return path


@pytest.fixture
def study(tmp_path: Path) -> Scan:
    return volume(tmp_path / "x.nii.gz", ball())


def test_a_run_of_black_images_is_shown_the_lungs_alone(study: Scan, tmp_path: Path) -> None:
    (bare,) = stacks([study], SETTINGS, PLAIN)
    with_lungs = replace(study, region=half(ball(), tmp_path / "lungs.nii.gz"))
    (black,) = stacks([with_lungs], SETTINGS, BLACK)
    lungs = with_lungs.slices(SETTINGS).regions
    assert lungs is not None
    for whole, inside, lung in zip(read(bare), read(black), lungs, strict=True):
        assert (whole.image[0][~lung] > 0).any()
        np.testing.assert_array_equal(inside.image[0], whole.image[0] * lung)


def test_lungs_that_no_mask_tells_are_sought_and_missed_aloud(study: Scan) -> None:
    with pytest.warns(UserWarning, match="black outside the lungs"):
        (found,) = stacks([study], SETTINGS, BLACK)
    with pytest.raises(DataError, match="x: no lungs found"):  # a ball holds none
        read(found)


def test_lesions_beside_a_scan_are_the_truth_when_it_is_asked_for(
    study: Scan, tmp_path: Path
) -> None:
    marked = replace(study, masks=(half(ball(), tmp_path / "lesion.nii.gz"),))
    (blind,) = stacks([marked], SETTINGS, PLAIN)
    (told,) = stacks([marked], SETTINGS, PLAIN, truth=True)
    expected = marked.slices(SETTINGS).masks
    assert expected is not None
    assert (blind.truth, told.truth) == (False, True)
    assert blind.stamp != told.stamp
    assert all(each.truth is None for each in read(blind))
    np.testing.assert_array_equal([each.truth for each in read(told)], expected)
    assert not stacks([study], SETTINGS, PLAIN, truth=True)[0].truth


def test_a_lesion_mask_on_another_grid_matters_to_the_truth_alone(
    study: Scan, tmp_path: Path
) -> None:
    other = replace(study, masks=(half(ball((10, 10, 4)), tmp_path / "lesion.nii.gz"),))
    assert read(stacks([other], SETTINGS, PLAIN)[0])
    with pytest.raises(DataError, match="another grid"):
        read(stacks([other], SETTINGS, PLAIN, truth=True)[0])
