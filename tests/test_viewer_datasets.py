from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_support import noise, write_manifest, write_png

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.viewer.datasets import stacks
from pseudolabel_kit.viewer.stack import Slice, Stack


def read(stack: Stack) -> list[Slice]:
    count, slices = stack.slices()
    found = list(slices)
    assert len(found) == count
    return found


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Three images without patients; the first alone has a region and a study."""
    for i in range(3):
        write_png(tmp_path / f"{i}.png", noise(20, 20, seed=i))
    half = np.zeros((20, 20))
    half[:10] = 255
    write_png(tmp_path / "region.png", half)
    lines = [{"image": f"{i}.png", "label": "ill"} for i in range(3)]
    lines[0] |= {"region": "region.png", "study": "case 1"}
    write_manifest(tmp_path, lines)
    return str(tmp_path)


def test_rows_without_study_and_patient_are_one(source: str) -> None:
    found = stacks(source, DataConfig())
    assert [(stack.name, len(read(stack))) for stack in found] == [("case 1", 1), ("images", 2)]
    assert len({stack.stamp for stack in found}) == 2


def test_images_are_black_outside_the_region_where_the_run_s_were(source: str) -> None:
    plain = read(stacks(source, DataConfig())[0])[0].image
    first, rest = stacks(source, DataConfig(region="black"))
    image = read(first)[0].image
    assert (image[:, 10:] == 0).all()
    np.testing.assert_array_equal(image[:, :10], plain[:, :10])
    with pytest.raises(DataError, match=r"1\.png: has no region"):
        read(rest)


def test_classes_are_told_with_the_truth_alone(source: str) -> None:
    assert read(stacks(source, DataConfig())[0])[0].label is None
    (first, _) = stacks(source, DataConfig(), truth=True)
    assert read(first)[0].label == "ill"
    assert not first.truth  # no mask to show
