"""Views that change pixels in place: noise, colour jitter, CutOut."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from plk_support import make_batch, make_task
from test_plk_views import view_of, views
from torch import Tensor

from plk_views.colour_jitter import ColourJitter, gaussian_blur
from plk_views.cutout import CutOut
from plk_views.noise import Noise

STILL = ColourJitter(brightness=0, contrast=0, saturation=0, blur=0, p=1)


def jittered(part: ColourJitter, image: Tensor) -> Tensor:
    before = view_of(len(image), image.shape[1])
    (after,) = views(part, before.with_image(image))
    assert after.pseudo is before.pseudo
    return after.batch.image


def noisy_image(rows: int = 8, channels: int = 3) -> Tensor:
    """Far enough from 0 and 1 that nothing is clamped."""
    return make_batch(rows, make_task(channels=channels)).image * 0.2 + 0.4


def test_noise_is_gaussian_and_clipped() -> None:
    image = torch.full((4, 1, 64, 64), 0.5)
    change = views(Noise(std=0.1, limit=0.15), view_of().with_image(image))[0].batch.image - 0.5
    assert change.abs().max().item() == pytest.approx(0.15)
    assert change.mean().abs() < 0.003
    within = (change.abs() < 0.1).float().mean().item()
    assert within == pytest.approx(math.erf(1 / math.sqrt(2)), abs=0.02)


def test_no_change_is_no_change() -> None:
    torch.testing.assert_close(jittered(STILL, noisy_image()), noisy_image())


def test_rows_that_are_not_chosen_stay() -> None:
    assert torch.equal(jittered(ColourJitter(p=0), noisy_image()), noisy_image())
    after = jittered(ColourJitter(p=0.5), noisy_image(40))
    changed = (after != noisy_image(40)).flatten(1).any(dim=1)
    assert 10 <= changed.sum() <= 30


def test_brightness_is_one_factor_a_row() -> None:
    image = noisy_image()
    factor = jittered(replace(STILL, brightness=0.5), image) / image
    assert factor.flatten(1).std(dim=1).max() < 1e-5
    assert 0.5 <= factor.min() < 0.9 < 1.1 < factor.max() <= 1.5


def test_contrast_keeps_the_mean_and_scales_the_spread() -> None:
    image = noisy_image()
    after = jittered(replace(STILL, contrast=0.5), image)
    torch.testing.assert_close(after.mean(dim=(1, 2, 3)), image.mean(dim=(1, 2, 3)))
    factor = after.flatten(1).std(dim=1) / image.flatten(1).std(dim=1)
    assert 0.5 <= factor.min() < 0.9 < 1.1 < factor.max() <= 1.5


def test_saturation_changes_colour_and_nothing_grey() -> None:
    part = replace(STILL, saturation=1)
    colour, grey = noisy_image(), noisy_image(channels=1)
    after = jittered(part, colour)
    assert not torch.allclose(after, colour, atol=0.01)
    torch.testing.assert_close(after.mean(dim=1), colour.mean(dim=1))
    torch.testing.assert_close(jittered(part, grey), grey)


def test_blur_is_a_gaussian_of_each_rows_own_width() -> None:
    point = torch.zeros(2, 3, 21, 21)
    point[:, :, 10, 10] = 1
    after = gaussian_blur(point, torch.tensor([0.0, 1.5]), largest=1.5)
    assert torch.equal(after[0], point[0])
    place = torch.arange(-10.0, 11.0)
    bell = torch.exp(-place.square() / (2 * 1.5**2))
    bell = bell.where(place.abs() <= 5, 0)  # three standard deviations
    torch.testing.assert_close(after[1, 0], torch.outer(bell, bell) / bell.sum() ** 2)
    flat = torch.full((1, 1, 8, 8), 0.3)
    torch.testing.assert_close(gaussian_blur(flat, torch.ones(1), largest=2), flat)


def test_the_hole_of_cutout_is_filled_and_ignored() -> None:
    before = view_of(16, channels=3)
    (after,) = views(CutOut(size=0.5, fill="grey"), before)
    assert after.pseudo.mask_weight is not None
    assert before.pseudo.mask_weight is not None
    hole = (after.pseudo.mask_weight == 0)[:, 0]
    assert ((after.batch.image == 0.5).all(dim=1) == hole).all()
    kept = ~hole[:, None]
    assert torch.equal(after.pseudo.mask_weight[kept], before.pseudo.mask_weight[kept])
    assert torch.equal(
        after.batch.image[kept.expand_as(after.batch.image)],
        before.batch.image[kept.expand_as(after.batch.image)],
    )
    assert after.pseudo.mask is before.pseudo.mask
    assert after.pseudo.label is before.pseudo.label
    assert hole.sum(dim=(1, 2)).max() <= 16 * 19  # half of each side, rounded up
    assert hole.sum(dim=(1, 2)).min() >= 8 * 9  # a quarter, at a corner


def test_a_hole_shows_each_rows_own_mean() -> None:
    before = view_of(3, channels=3)
    (after,) = views(CutOut(size=1), before)
    mean = before.batch.image.mean(dim=(2, 3))
    weight = after.pseudo.mask_weight
    assert weight is not None
    for row in range(3):
        shown = after.batch.image[row][:, weight[row, 0] == 0]
        torch.testing.assert_close(shown, mean[row][:, None].expand_as(shown))
