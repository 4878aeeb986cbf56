from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from predict_support import noise, write_image

from pseudolabel_kit.viewer.pictures import stacks


@pytest.mark.parametrize("padded", [False, True])
def test_pictures_are_padded_for_a_run_of_imported_data(tmp_path: Path, padded: bool) -> None:
    pixels = noise(20, 30)
    (stack,) = stacks([write_image(tmp_path / "x.png", pixels)], padded=padded)
    count, slices = stack.slices()
    (found,) = slices
    expected = np.pad(pixels, [(5, 5), (0, 0)]) if padded else pixels
    assert (count, found.title) == (1, "x")
    np.testing.assert_allclose(found.image[0], expected / 255, atol=1e-6)
