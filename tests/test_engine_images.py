from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predict_support import noise, write_image

from pseudolabel_kit.data.fit import Layout, fit
from pseudolabel_kit.engine.images import find_images, open_image, output_names
from pseudolabel_kit.engine.reading import in_own_size
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.interfaces import Row, Sample, Task
from pseudolabel_kit.scans.inputs import DEFAULTS
from pseudolabel_kit.scans.picture import Picture


def task(channels: int = 1, size: tuple[int, int] = (6, 5)) -> Task:
    return Task(channels=channels, size=size, classes=("a", "b"), lesion_classes=(1,))


def test_files_and_folders_are_found_once_each(tmp_path: Path) -> None:
    first, second = tmp_path / "s" / "b.png", tmp_path / "s" / "deep" / "a.TIF"
    for path in (first, second):
        write_image(path, noise(4, 4))
    for other in ("notes.txt", ".hidden.png"):
        (tmp_path / "s" / other).touch()
    named = write_image(tmp_path / "plain.npy", noise(4, 4))
    found = find_images([named, tmp_path / "s", first], skip=tmp_path / "out")
    assert found == [named, first, second]


def test_a_folder_of_predictions_is_not_predicted(tmp_path: Path) -> None:
    image = write_image(tmp_path / "x.png", noise(4, 4))
    write_image(tmp_path / "out" / "masks" / "x.png", noise(4, 4))
    assert find_images([tmp_path], skip=tmp_path / "out") == [image]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("gone.png", "gone.png: there is no such file or folder"), ("empty", "empty: holds no image")],
)
def test_missing_images_are_named(tmp_path: Path, name: str, complaint: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=complaint):
        find_images([tmp_path / name], skip=tmp_path / "out")


SEGMENT = st.sampled_from(["a", "b", "x"])
PATHS = st.builds(
    lambda folders, stem, suffix: Path("/top", *folders, stem + suffix),
    st.lists(SEGMENT, max_size=2),
    SEGMENT,
    st.sampled_from([".png", ".jpg", ".png.tif", ""]),
)


@given(st.lists(PATHS, min_size=1, max_size=6, unique=True))
def test_no_two_images_share_a_name(paths: list[Path]) -> None:
    names = output_names(paths)
    assert len(set(names)) == len(paths)
    assert not any(name.startswith(("/", ".")) for name in names)


def test_one_image_is_called_by_its_own_name() -> None:
    assert output_names([Path("deep/down/scan.png")]) == ["scan"]


@pytest.mark.parametrize("shape", [(9, 9), (24, 20), (16, 40)])
def test_an_image_is_fitted_as_the_store_fits_training_data(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    path = write_image(tmp_path / "x.png", noise(*shape))
    found = open_image(path, task(size=(9, 9)))
    sample = Sample(image=noise(*shape)[None].astype(np.float32) / np.float32(255))
    _, packed = fit(Row(name="x"), sample, Layout(), size=9, region="keep")
    np.testing.assert_allclose(found.fitted, packed.image / 255, atol=0.51 / 255)
    assert found.grey.shape == shape


@pytest.mark.parametrize("shape", [(24, 24), (24, 37), (37, 24), (16, 50)])
def test_an_image_is_padded_as_an_import_pads_pictures(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    path = write_image(tmp_path / "x.png", noise(*shape))
    found = open_image(path, task(size=(20, 20)), padded=True)
    picture = Picture(name="x", patient="", source=tmp_path, image=path)
    stored = picture.slices(replace(DEFAULTS, size=20)).images
    np.testing.assert_allclose(found.fitted, stored / 255, atol=0.51 / 255)


@pytest.mark.parametrize("shape", [(20, 33), (33, 20), (33, 33)])
def test_planes_of_a_padded_image_lie_on_it(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = write_image(tmp_path / "x.png", noise(*shape))
    found = open_image(path, task(size=(33, 33)), padded=True)
    np.testing.assert_allclose(in_own_size(found, found.fitted)[0], found.grey, atol=1e-6)


def test_a_tiny_image_is_not_padded_to_be_enlarged(tmp_path: Path) -> None:
    path = write_image(tmp_path / "x.png", noise(3, 40))
    with pytest.raises(DataError, match=r"x\.png: 40x3 px: expected at least 16 px a side"):
        open_image(path, task(size=(32, 32)), padded=True)


def test_what_is_no_image_names_the_fix(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").touch()
    (tmp_path / "slice").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "empty").touch()
    for name, said in [
        ("gone.png", "there is no such file"),
        (".", "is a folder; expected one image, or plk predict RUN "),
        ("x.nii.gz", r"is a scan, not a picture; expected plk predict RUN .*x\.nii\.gz"),
        ("slice", "is a scan, not a picture; expected plk predict RUN "),
        ("empty", r"is empty \(0 bytes\)"),
    ]:
        with pytest.raises(DataError, match=said):
            open_image(tmp_path / name, task())


def test_a_tiny_image_is_not_enlarged(tmp_path: Path) -> None:
    path = write_image(tmp_path / "x.png", noise(3, 40))
    with pytest.raises(DataError, match=r"x\.png: 40x3 px: expected at least 16 px a side"):
        open_image(path, task(size=(32, 32)))


def test_grey_becomes_colour_by_repetition(tmp_path: Path) -> None:
    found = open_image(write_image(tmp_path / "x.png", noise(6, 5)), task(channels=3))
    np.testing.assert_array_equal(found.fitted, np.repeat(found.grey[None], 3, axis=0))


def test_colour_becomes_grey_where_its_channels_are_equal(tmp_path: Path) -> None:
    grey = noise(6, 5)
    path = write_image(tmp_path / "x.png", np.stack([grey] * 3, axis=-1))
    np.testing.assert_allclose(open_image(path, task()).fitted[0], grey / 255, atol=1e-7)


def test_colour_is_refused_by_a_grey_run(tmp_path: Path) -> None:
    path = write_image(tmp_path / "x.png", noise(6, 5, 3))
    with pytest.raises(DataError, match=r"x\.png is in colour, but the run was trained on grey"):
        open_image(path, task())
