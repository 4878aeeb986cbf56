from __future__ import annotations

import numpy as np
import pytest
from lung_phantom import AIR, SPACING, TISSUE, Chest, chest, dice

from pseudolabel_kit.scans.lungs import lung_mask
from pseudolabel_kit.scans.slice_lungs import Mask


@pytest.fixture(scope="module")
def body() -> Chest:
    return chest()


@pytest.fixture(scope="module")
def found(body: Chest) -> Mask:
    return lung_mask(body.hu, SPACING)


def test_both_lungs_are_found(body: Chest, found: Mask) -> None:
    assert found.dtype == np.bool_
    assert dice(found, body.lungs) > 0.98


def test_a_lesion_at_the_ribs_belongs_to_the_lung(body: Chest, found: Mask) -> None:
    """An air threshold alone leaves it out."""
    assert not (body.lesion & (body.hu < -320)).any()
    assert found[body.lesion].mean() > 0.8


def test_windpipe_stomach_and_room_do_not(body: Chest, found: Mask) -> None:
    assert found[body.windpipe].mean() < 0.1
    assert not found[body.stomach].any()
    assert found[:, 0].sum() == found[:, -1].sum() == 0


def test_a_patient_who_lies_the_other_way_has_the_same_lungs(body: Chest, found: Mask) -> None:
    for axis in range(3):
        turned = lung_mask(np.flip(body.hu, axis), SPACING)
        assert dice(np.flip(turned, axis), found) > 0.999


def test_one_lung_may_be_full(body: Chest) -> None:
    """The other one is found, and nothing in its place."""
    half = body.hu.copy()
    right = np.arange(half.shape[2]) >= half.shape[2] // 2
    half[body.lungs & right] = TISSUE
    found = lung_mask(half, SPACING)
    assert dice(found, body.lungs & ~right) > 0.98


def test_where_no_lung_is_nothing_is_found(body: Chest) -> None:
    assert not lung_mask(np.where(body.lungs | body.windpipe, TISSUE, body.hu), SPACING).any()
    assert not lung_mask(np.full((3, 20, 20), AIR), SPACING).any()
    assert not lung_mask(np.full((3, 20, 20), TISSUE), SPACING).any()


def test_lungs_are_measured_in_millimetres(body: Chest) -> None:
    """The same voxels, a tenth as large, are no lungs of a patient."""
    assert not lung_mask(body.hu, (0.4, 0.4, 0.8)).any()
