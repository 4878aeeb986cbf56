from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from plk_support import Toy, begun, make_batch, make_task
from torch import Tensor

from plk_captum.occlusion import Occlusion
from pseudolabel_kit.attribution import ClassScores
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.plugin.build import build

LABEL = torch.tensor([0, 2, 1])


class Counting(Toy):
    """Notes how many images each pass scores."""

    def classify(self, images: Tensor) -> Tensor:
        self.__dict__.setdefault("passes", []).append(len(images))
        return super().classify(images)


def test_each_pixel_gets_what_its_window_is_worth() -> None:
    """Of a sum over pixels, a black window takes away its own part."""
    images = torch.rand(3, 1, 32, 40)
    part = begun(Occlusion(cells=4, stride=1, baseline="zero"))
    found = part.credit(ClassScores(Toy()), images, LABEL)
    windows = F.avg_pool2d(images**3, (8, 10), divisor_override=1)
    expected = F.interpolate(windows, (32, 40)) * (LABEL + 1).reshape(3, 1, 1, 1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-3)


def test_windows_that_overlap_are_averaged() -> None:
    images = torch.zeros(3, 1, 32, 32)
    images[..., 12, 12] = 1  # in the windows that begin at 8 or 12, of those at 0, 4, ... 24
    part = begun(Occlusion(cells=4, stride=0.5, baseline="zero"))
    found = part.credit(ClassScores(Toy()), images, torch.tensor([0, 0, 0]))[0, 0]
    assert found[12, 12].item() == pytest.approx(1)
    assert found[9, 12].item() == pytest.approx(1 / 2)  # rows from 4 see no such pixel
    assert found[9, 17].item() == pytest.approx(1 / 4)
    assert found[30, 30] == 0


@pytest.mark.parametrize("size", [(32, 32), (96, 96)])
def test_cost_is_that_of_the_windows_whatever_the_size(size: tuple[int, int]) -> None:
    model, images = Counting(), make_batch(3, make_task(size=size)).image
    begun(Occlusion(internal_batch=8)).credit(ClassScores(model), images, LABEL)
    assert max(model.passes) <= 8
    assert sum(model.passes) == 3 * (7 * 7 + 1)


@pytest.mark.parametrize("size", [1, 3, 64])
def test_internal_batch_changes_nothing(size: int) -> None:
    images = make_batch(3).image
    found, expected = (
        begun(Occlusion(internal_batch=rows)).credit(ClassScores(Toy()), images, LABEL)
        for rows in (size, 16)
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "option", ["cells=1", "stride=0", "stride=1.5", "internal_batch=0", "baseline=grey"]
)
def test_options_out_of_range_are_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=option.split("=")[0]):
        build("explainer", f"occlusion:{option}")
