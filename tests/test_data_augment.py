from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pseudolabel_kit.config import AugmentConfig
from pseudolabel_kit.data.augment import weak_view
from pseudolabel_kit.interfaces import Batch


def make_batch(rows: int = 6, side: int = 32, region: bool = True) -> Batch:
    generator = torch.Generator().manual_seed(0)
    mask = (torch.rand(rows, 1, side, side, generator=generator) > 0.7).float()
    return Batch(
        image=torch.rand(rows, 3, side, side, generator=generator),
        label=torch.arange(rows),
        mask=mask,
        has_label=torch.ones(rows, dtype=torch.bool),
        has_mask=torch.ones(rows, dtype=torch.bool),
        region=mask.clone() if region else None,
    )


def blob(centre: tuple[int, int], side: int = 64) -> Tensor:
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (((y - centre[0]) ** 2 + (x - centre[1]) ** 2) < 64).float()[None, None]


def test_without_changes_it_is_the_same_to_the_bit_and_draws_nothing() -> None:
    batch = make_batch()
    torch.manual_seed(3)
    view = weak_view(batch, AugmentConfig(flip=0, shift=0, scale=0))
    assert torch.equal(view.image, batch.image)
    assert torch.equal(view.mask, batch.mask)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))


def test_a_certain_flip_mirrors_left_and_right() -> None:
    batch = make_batch()
    view = weak_view(batch, AugmentConfig(flip=1, shift=0, scale=0))
    assert torch.allclose(view.image, batch.image.flip(-1), atol=1e-5)
    assert torch.equal(view.mask, batch.mask.flip(-1))
    assert view.region is not None
    assert torch.equal(view.region, batch.mask.flip(-1))


def test_image_mask_and_region_move_together() -> None:
    spot = blob((20, 40)).repeat(8, 1, 1, 1)
    yes = torch.ones(8, dtype=torch.bool)
    batch = Batch(image=spot, label=yes.long(), mask=spot, has_label=yes, has_mask=yes, region=spot)
    torch.manual_seed(0)
    view = weak_view(batch, AugmentConfig(flip=0.5, shift=0.2, scale=0.3))
    assert view.region is not None
    assert torch.equal(view.mask, view.region)
    agree = ((view.image > 0.5) == (view.mask > 0.5)).float().mean(dim=(1, 2, 3))
    assert agree.min() > 0.99
    assert set(view.mask.unique().tolist()) <= {0.0, 1.0}


def test_rows_are_moved_each_by_itself() -> None:
    batch = make_batch()
    same = Batch(
        image=batch.image[:1].repeat(6, 1, 1, 1),
        label=batch.label,
        mask=batch.mask[:1].repeat(6, 1, 1, 1),
        has_label=batch.has_label,
        has_mask=batch.has_mask,
    )
    torch.manual_seed(0)
    view = weak_view(same, AugmentConfig())
    assert view.region is None
    assert all(not torch.equal(view.image[0], view.image[i]) for i in range(1, 6))


@pytest.mark.parametrize("direction", [0, 1])
def test_a_shift_stays_below_its_largest(direction: int) -> None:
    spot = blob((32, 32)).repeat(64, 1, 1, 1)
    yes = torch.ones(64, dtype=torch.bool)
    batch = Batch(image=spot, label=yes.long(), mask=spot, has_label=yes, has_mask=yes)
    torch.manual_seed(0)
    moved = weak_view(batch, AugmentConfig(flip=0, shift=0.1, scale=0)).mask
    along = moved.sum(dim=3 - direction)[:, 0]
    middle = (along * torch.arange(64)).sum(dim=1) / along.sum(dim=1)
    largest = (middle - 32).abs().max()
    assert 4 < largest <= 0.1 * 64 + 1


def test_the_seed_decides() -> None:
    batch = make_batch()
    views = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        views.append(weak_view(batch, AugmentConfig()).image)
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])
