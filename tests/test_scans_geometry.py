"""A mask goes to slices and comes back on the voxels that it left."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pseudolabel_kit.scans.geometry import Geometry, Grid

LETTERS = ["".join(p) for p in itertools.product("LR", "AP", "IS")]
ORIENTATIONS = ["".join(order) for each in LETTERS for order in itertools.permutations(each)]
TYPES = [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64]


def scan(
    array: np.ndarray, spacing: tuple[float, ...], turn: tuple[float, ...], orientation: str
) -> sitk.Image:
    """A volume (D,H,W), turned by Euler angles in degrees, its axes named by three letters."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((-31.5, 12.25, 200.0))
    image.SetDirection(Rotation.from_euler("xyz", turn, degrees=True).as_matrix().ravel().tolist())
    return sitk.DICOMOrient(image, orientation)


def ball(size: tuple[int, ...], spacing: tuple[float, ...], radius: float) -> np.ndarray:
    """A ball (D,H,W) of a radius in mm about the middle."""
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(size, spacing, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return np.transpose(x**2 + y**2 + z**2 <= radius**2)


@given(
    size=st.tuples(*[st.integers(1, 9)] * 3),
    turn=st.tuples(*[st.integers(-40, 40)] * 3),
    orientation=st.sampled_from(ORIENTATIONS),
    kind=st.sampled_from(TYPES),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_where_nothing_is_resampled_every_voxel_comes_back(
    size: tuple[int, ...], turn: tuple[float, ...], orientation: str, kind: type, seed: int
) -> None:
    array = np.random.default_rng(seed).integers(0, 2, size).astype(kind)
    image = scan(array, (1, 1, 1), turn, orientation)
    grid = Grid.of(image)
    side = max(grid.axial().size[:2])
    geometry = Geometry.plan(grid, spacing=(1, 1, 1), side=side)
    there = geometry.mask_slices(image)
    assert there.shape[1:] == (side, side)
    assert there.sum() == array.sum()
    back = geometry.back(there)
    assert Grid.of(back) == grid
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))
    grey = geometry.image_slices(image, 0)
    np.testing.assert_allclose(grey, there, atol=1e-5)
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(geometry.back(grey)), sitk.GetArrayFromImage(image), atol=1e-5
    )


@given(
    spacing=st.tuples(st.floats(0.5, 1.5), st.floats(0.5, 1.5), st.floats(0.7, 4)),
    turn=st.tuples(*[st.integers(-40, 40)] * 3),
    orientation=st.sampled_from(ORIENTATIONS),
    kind=st.sampled_from(TYPES),
)
@settings(max_examples=30)
def test_a_ball_comes_back_from_any_grid(
    spacing: tuple[float, ...], turn: tuple[float, ...], orientation: str, kind: type
) -> None:
    size = tuple(round(44 / s) for s in spacing)
    mask = ball(size, spacing, 10).astype(kind)
    image = scan(mask, spacing, turn, orientation)
    geometry = Geometry.plan(Grid.of(image), spacing=(1, 1, 1), side=40)
    back = geometry.back(geometry.mask_slices(image))
    assert Grid.of(back) == Grid.of(image)
    found, true = sitk.GetArrayFromImage(back) > 0, sitk.GetArrayFromImage(image) > 0
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) >= 0.9


def test_slices_show_the_patient_as_radiologists_expect() -> None:
    array = np.zeros((6, 8, 10), np.uint8)
    array[5, 1, 2] = 1  # near the head, at the front, on the patient's right
    for orientation in ORIENTATIONS:
        image = scan(array, (1, 1, 1), (0, 0, 0), orientation)
        slices = Geometry.plan(Grid.of(image), spacing=(1, 1, 1), side=10).mask_slices(image)
        assert np.argwhere(slices).tolist() == [[5, 2, 2]]  # one row of padding above


def test_slices_keep_their_proportions() -> None:
    image = scan(np.ones((4, 30, 60), np.uint8), (0.5, 0.5, 2.5), (0, 0, 0), "LPS")
    geometry = Geometry.plan(Grid.of(image), spacing=(1, 1, 1), side=60)
    assert geometry.resampled.size == (30, 30, 10)
    assert geometry.slices.spacing == pytest.approx((0.5, 0.5, 1))
    slices = geometry.mask_slices(image)
    assert slices.any(axis=(0, 2)).sum() == pytest.approx(30, abs=1)
    assert slices.all(axis=(0, 1)).sum() == 0
    assert slices.any(axis=(0, 1)).all()


def test_what_lies_outside_has_the_value_that_is_said() -> None:
    image = scan(np.full((2, 4, 8), 50, np.int16), (1, 1, 1), (0, 0, 0), "LPS")
    geometry = Geometry.plan(Grid.of(image), spacing=(1, 1, 1), side=8)
    slices = geometry.image_slices(image, -1350)
    assert np.unique(slices).tolist() == [-1350, 50]
    assert (slices == 50).sum() == 64


def test_a_geometry_survives_json() -> None:
    image = scan(np.zeros((3, 4, 5), np.uint8), (0.7, 0.8, 3), (5, 6, 7), "SAL")
    geometry = Geometry.plan(Grid.of(image), spacing=(1, 1, 2), side=16)
    assert Geometry.from_json(json.loads(json.dumps(geometry.to_json()))) == geometry


def test_grids_are_compared_by_their_voxels() -> None:
    image = scan(np.zeros((3, 4, 5), np.uint8), (1, 1, 2), (0, 0, 0), "LPS")
    grid = Grid.of(image)
    image.SetOrigin((-31.5, 12.25, 201.0))
    assert grid.farthest(grid) == 0
    assert grid.farthest(Grid.of(image)) == pytest.approx(1)
    assert grid.farthest(Grid.of(image[1:])) == np.inf


def test_slices_of_another_shape_are_refused() -> None:
    grid = Grid.of(sitk.Image(4, 4, 2, sitk.sitkUInt8))
    geometry = Geometry.plan(grid, spacing=(1, 1, 1), side=4)
    with pytest.raises(ValueError, match=r"slices of \(2, 4, 5\): expected \(2, 4, 4\)"):
        geometry.back(np.zeros((2, 4, 5)))


@given(
    size=st.tuples(*[st.integers(1, 40)] * 3),
    turn=st.tuples(*[st.integers(-40, 40)] * 3),
    orientation=st.sampled_from(ORIENTATIONS),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_no_slice_loses_all_of_its_lesion(
    size: tuple[int, ...], turn: tuple[float, ...], orientation: str, seed: int
) -> None:
    array = (np.random.default_rng(seed).random(size) < 2 / np.prod(size)).astype(np.uint8)
    mask = scan(array, (1, 1, 1), turn, orientation)
    geometry = Geometry.plan(Grid.of(mask), spacing=(1, 1, 1), side=8)
    plain, (planes, thin) = geometry.mask_slices(mask), geometry.lesion_slices(mask)
    shown = sitk.GetArrayFromImage(sitk.DICOMOrient(mask, "LPS")).any(axis=(1, 2))
    assert planes.any(axis=(1, 2)).tolist() == shown.tolist()
    lost = shown & ~plain.any(axis=(1, 2))
    assert thin == lost.sum()
    assert (planes[~lost] == plain[~lost]).all()


def test_a_thin_lesion_stays_where_it_is() -> None:
    array = np.zeros((2, 100, 80), np.uint8)
    array[1, 31, 17] = 1
    mask = sitk.GetImageFromArray(array)
    planes, thin = Geometry.plan(Grid.of(mask), spacing=(1, 1, 1), side=20).lesion_slices(mask)
    assert thin == 1
    assert np.argwhere(planes).tolist() == [[1, 31 // 5, (17 + 10) // 5]]
