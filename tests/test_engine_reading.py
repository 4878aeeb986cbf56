from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from predict_support import noise, read_pixels, train_tiny, write_image

import pseudolabel_kit
from pseudolabel_kit.engine.images import open_image
from pseudolabel_kit.engine.predict import Predictor
from pseudolabel_kit.engine.predictions import predict_files
from pseudolabel_kit.engine.reading import ImageReading, readings
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.interfaces import Prediction


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return pseudolabel_kit.load(train_tiny(tmp_path_factory.getbasetemp()))


@pytest.mark.parametrize("imported", [None, {"size": 32}])
def test_a_reading_is_what_plk_predict_writes(
    predictor: Predictor, tmp_path: Path, imported: dict[str, int] | None
) -> None:
    predictor = replace(predictor, imported=imported)
    path = write_image(tmp_path / "x.png", noise(50, 41))
    (answer,) = predict_files(predictor, [path], tmp_path / "out")
    reading = predictor.read(path)
    assert reading.probabilities == pytest.approx(answer.probabilities, abs=1e-6)
    assert reading.predicted == answer.predicted
    stored = read_pixels(tmp_path / "out" / "probabilities" / "x.png") / 65535
    np.testing.assert_allclose(reading.lesion[0], stored, atol=1e-5)
    assert reading.threshold == pytest.approx(1 / 3)
    np.testing.assert_array_equal(
        reading.mask[0], read_pixels(tmp_path / "out" / "masks" / "x.png") > 0
    )


def test_a_run_of_imported_data_sees_images_padded(predictor: Predictor) -> None:
    wide = noise(30, 50)
    padded = np.pad(wide, [(10, 10), (0, 0)])
    square = predictor.read(padded)
    found = replace(predictor, imported={"size": 32}).read(wide)
    assert found.probabilities == pytest.approx(square.probabilities, abs=1e-6)
    np.testing.assert_allclose(found.lesion, square.lesion[:, 10:40], atol=1e-6)
    assert np.abs(predictor.read(wide).lesion - found.lesion).max() > 1e-3  # it was stretched


def test_the_mask_begins_at_the_threshold() -> None:
    lesion = np.array([[[0.32, 0.33, 0.34, 0.5]]], np.float32)
    reading = ImageReading(probabilities={}, lesion=lesion, threshold=0.33)
    assert reading.mask.tolist() == [[[False, True, True, True]]]


@pytest.mark.parametrize(
    "pixels",
    [noise(50, 41), noise(50, 41)[..., None], noise(50, 41).astype(np.uint16) * 257],
)
def test_pixels_are_read_as_the_file_that_holds_them(
    predictor: Predictor, tmp_path: Path, pixels: np.ndarray
) -> None:
    expected = predictor.read(str(write_image(tmp_path / "x.png", noise(50, 41))))
    found = predictor.read(pixels)
    assert found.lesion.shape == (1, 50, 41)
    np.testing.assert_allclose(found.lesion, expected.lesion, atol=1e-6)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.zeros((2, 3, 4, 5)), r"the image has shape \(2, 3, 4, 5\); expected \(H,W\)"),
        (np.full((40, 40), 7.0), "the image holds values from 7 to 7; expected 0 to 1"),
        (np.full((40, 40), "x"), "the image holds <U1"),
        (noise(40, 40, 3), "the image is in colour"),
    ],
)
def test_what_is_no_image_is_one_line(predictor: Predictor, pixels: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        predictor.read(pixels)


def test_a_head_that_lacks_says_nothing(predictor: Predictor, tmp_path: Path) -> None:
    image = open_image(write_image(tmp_path / "x.png", noise(32, 32)), predictor.task)
    whole = predictor(torch.from_numpy(image.fitted[None]))
    (masks,) = readings(replace(whole, class_logits=None), predictor.task, [image])
    assert (masks.probabilities, masks.predicted) == ({}, "")
    bare = Prediction(class_logits=whole.class_logits)
    (classes,) = readings(bare, predictor.task, [image])
    assert (classes.lesion, classes.mask) == (None, None)


def test_a_run_of_black_images_warns(predictor: Predictor) -> None:
    data = predictor.config.data.model_copy(update={"region": "black"})
    config = predictor.config.model_copy(update={"data": data})
    with pytest.warns(UserWarning, match="black outside their region"):
        replace(predictor, config=config).read(noise(40, 36))
