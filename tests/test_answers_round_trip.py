"""A mask lies on the voxels that it was found in, however the scan lies in space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from answers_support import HALF, scanner, volume
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pseudolabel_kit.answers.predict import predict_studies
from pseudolabel_kit.scans.study import Settings

AXES = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]


@st.composite
def directions(draw: st.DrawFn) -> list[float]:
    """Any order and sense of the axes, turned by any angle about any axis."""
    x = draw(st.sampled_from(AXES))
    y = draw(st.sampled_from([axis for axis in AXES if not np.dot(axis, x)]))
    z = np.cross(x, y) * draw(st.sampled_from([1, -1]))
    axis = draw(st.sampled_from([(1, 0, 0), (0, 1, 0), (1, 2, 3)]))
    turn = sitk.VersorTransform()
    turn.SetRotation(np.array(axis, float), draw(st.floats(-0.7, 0.7)))
    return list((np.array(turn.GetMatrix()).reshape(3, 3) @ np.array([x, y, z]).T).ravel())


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    direction=directions(),
    spacing=st.tuples(*[st.sampled_from([0.7, 1.0, 1.7, 2.5])] * 3),
    origin=st.tuples(*[st.sampled_from([-120.5, 0.0, 33.3])] * 3),
    suffix=st.sampled_from(["nii.gz", "nrrd", "mha"]),
    dtype=st.sampled_from([np.int16, np.int32, np.float32, np.float64]),
)
@example(  # a cosine that is no more than rounding
    direction=[1.0, 0.0, 2e-311, 0.0, 1.0, 0.0, -2e-311, 0.0, 1.0],
    spacing=(0.7, 0.7, 0.7),
    origin=(0.0, 0.0, 0.0),
    suffix="nrrd",
    dtype=np.int16,
)
def test_a_block_is_found_where_it_is(
    tmp_path_factory: pytest.TempPathFactory,
    direction: list[float],
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
    suffix: str,
    dtype: type,
) -> None:
    folder = tmp_path_factory.mktemp("scan")
    block = np.zeros((17, 18, 19), bool)
    block[3:9, 8:15, 4:11] = True  # off the centre, and of three lengths
    image = sitk.GetImageFromArray(np.where(block, 90, -90).astype(dtype))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    study = volume(folder / f"x.{suffix}", image)
    fine = Settings(spacing=(0.5, 0.5, 0.5), size=96, window=HALF, bits=16, lesion=())
    predict_studies(scanner(96, fine), [study], folder / "out")
    mask, probability = (
        sitk.ReadImage(str(folder / "out" / kind / "x.nii.gz"))
        for kind in ("masks", "probabilities")
    )
    for each in (mask, probability):
        assert each.GetSize() == image.GetSize()
        np.testing.assert_allclose(each.GetSpacing(), spacing, rtol=1e-5)
        np.testing.assert_allclose(each.GetOrigin(), origin, atol=1e-3)
        np.testing.assert_allclose(each.GetDirection(), direction, atol=1e-5)
    found = sitk.GetArrayFromImage(mask)
    assert set(np.unique(found)) == {0, 1}
    wrong = np.argwhere((found == 1) != block)
    assert len(wrong) <= 0.02 * block.sum(), f"{len(wrong)} of {block.sum()} voxels differ"
    shares = sitk.GetArrayFromImage(probability)
    np.testing.assert_array_equal(found == 1, shares >= 32768)


def test_a_probability_is_brought_back_between_its_pixels(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(-8, 8, 128), (8, 128, 128)).astype(np.float32)
    image = sitk.GetImageFromArray(ramp)
    coarse = Settings(spacing=(4, 4, 4), size=32, window=HALF, bits=16, lesion=())
    predict_studies(scanner(32, coarse), [volume(tmp_path / "x.nii", image)], tmp_path / "out")
    back = sitk.ReadImage(str(tmp_path / "out" / "probabilities" / "x.nii.gz"))
    row = sitk.GetArrayFromImage(back)[4, 64, 8:120].astype(int)
    assert (np.diff(row) > 0).all()  # the nearest pixel would make steps
