from __future__ import annotations

import numpy as np
import pytest
from lung_phantom import Chest, chest, dice

from pseudolabel_kit.scans.slice_lungs import filled, inner_air, lungs


@pytest.fixture(scope="module")
def body() -> Chest:
    return chest(depth=9, side=128)


def test_the_lungs_of_slices_are_found(body: Chest) -> None:
    found = lungs(body.grey[2:7])
    assert dice(found, body.lungs[2:7]) > 0.97
    assert found[body.lesion[2:7]].mean() > 0.8


def test_a_crop_to_the_lungs_needs_no_air_around_the_body(body: Chest) -> None:
    """The lungs touch all sides of the image, and the body is cut."""
    _, rows, columns = np.nonzero(body.lungs[2:7])
    crop = np.s_[2:7, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert body.lungs[crop][:, 0].any()
    assert dice(lungs(body.grey[crop]), body.lungs[crop]) > 0.97


@pytest.mark.parametrize("axis", [1, 2])
def test_a_flip_flips_the_lungs(body: Chest, axis: int) -> None:
    flipped = lungs(np.flip(body.grey, axis))
    assert dice(np.flip(flipped, axis), lungs(body.grey)) > 0.995


@pytest.mark.parametrize(("gain", "shift"), [(0.5, 0.0), (3.0, 0.0), (1.0, 40.0), (0.01, -1.0)])
def test_the_scale_of_grey_does_not_matter(body: Chest, gain: float, shift: float) -> None:
    assert dice(lungs(body.grey * gain + shift), lungs(body.grey)) > 0.995


def test_a_slice_without_air_has_no_lungs() -> None:
    grey = np.random.default_rng(0).integers(200, 210, (1, 32, 32))
    assert not lungs(np.full((2, 32, 32), 7)).any()
    assert not inner_air(np.ones((32, 32), bool)).any()
    assert not filled(np.zeros((32, 32), bool)).any()
    assert lungs(grey).mean() < 0.5


def test_no_slices_have_no_lungs() -> None:
    assert lungs(np.zeros((0, 8, 8))).shape == (0, 8, 8)
