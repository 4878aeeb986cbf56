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


def thorax() -> np.ndarray:
    """Two lungs in a crop; the right one has a hollow at the heart and one at the ribs."""
    grey = np.full((100, 120), 200)
    grey[10:90, 6:50] = grey[10:90, 70:114] = 60
    grey[30:50, 70:85] = 200  # heart
    grey[60:75, 104:114] = 200  # a lesion at the ribs
    return grey


def test_lungs_are_hollow_at_the_heart_and_not_at_the_ribs() -> None:
    found = lungs(thorax()[None])[0]
    assert not found[32:48, 72:80].any()
    assert found[60:75, 104:114].all()


def test_the_windpipe_is_darker_than_the_lungs() -> None:
    grey = thorax()
    grey[40:52, 54:66] = 60
    assert lungs(grey[None])[0, 44:48, 58:62].all(), "as light as the lungs, it is lung"
    grey[40:52, 54:66] = 20
    assert not lungs(grey[None])[0, 40:52, 54:66].any()


def test_the_liver_in_a_lung_is_no_lung() -> None:
    grey = thorax()
    grey[20:70, 12:44] = 200
    found = lungs(grey[None])[0]
    assert not found[22:68, 14:42].any()
    assert found[75:88, 8:48].all()


def test_the_room_is_no_lung() -> None:
    grey = np.pad(thorax(), 20, constant_values=200)
    room = np.pad(grey, 10, constant_values=20)
    assert dice(lungs(room[None])[0, 10:-10, 10:-10], lungs(grey[None])[0]) > 0.99
