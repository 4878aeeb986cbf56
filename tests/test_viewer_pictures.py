from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from predict_support import noise, write_image

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.viewer.pictures import stacks


def test_slices_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = ["x8", "x10", "x9", "1x2", "b"]
    paths = [write_image(tmp_path / f"{name}.png", noise(20, 20)) for name in sorted(names)]
    (found,) = stacks(paths, DataConfig())
    titles = [each.title for each in found.slices()[1]]
    assert titles == ["1x2", "b", "x8", "x9", "x10"]


def test_a_run_of_black_images_warns_of_pictures(tmp_path: Path) -> None:
    path = write_image(tmp_path / "x.png", noise(20, 20))
    with pytest.warns(UserWarning, match="black outside their region"):
        stacks([path], DataConfig(region="black"))
    assert stacks([], DataConfig(region="black")) == []


@pytest.mark.parametrize("padded", [False, True])
def test_pictures_are_padded_for_a_run_of_imported_data(tmp_path: Path, padded: bool) -> None:
    pixels = noise(20, 30)
    (stack,) = stacks([write_image(tmp_path / "x.png", pixels)], DataConfig(), padded=padded)
    count, slices = stack.slices()
    (found,) = slices
    expected = np.pad(pixels, [(5, 5), (0, 0)]) if padded else pixels
    assert (count, found.title) == (1, "x")
    np.testing.assert_allclose(found.image[0], expected / 255, atol=1e-6)
