from __future__ import annotations

import pytest
import torch
from plk_support import make_batch, make_task

from plk_calibrated.contrast_sharpness import ContrastSharpness
from pseudolabel_kit.interfaces import Batch, PseudoLabels, View


def view_of(batch: Batch) -> View:
    return View(batch=batch, pseudo=PseudoLabels(mask=batch.mask, mask_weight=batch.mask[:, :1]))


def strong(part: ContrastSharpness, batch: Batch, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    (view,) = part.perturb(view_of(batch), batch)
    return view.batch.image


def test_pixels_change_and_nothing_else_does() -> None:
    batch = make_batch(4, make_task(channels=3))
    before = view_of(batch)
    (after,) = ContrastSharpness().perturb(before, batch)
    image = after.batch.image
    assert image.shape == batch.image.shape
    assert image.min() >= 0
    assert image.max() <= 1
    assert (image - batch.image).abs().mean() > 0.02
    assert after.pseudo is before.pseudo
    assert after.batch.mask is batch.mask


def test_every_row_has_its_own_factors_drawn_from_torchs_generator() -> None:
    batch = make_batch(1)
    same = Batch(
        image=batch.image.expand(4, -1, -1, -1),
        label=batch.label.expand(4),
        mask=batch.mask.expand(4, -1, -1, -1),
        has_label=batch.has_label.expand(4),
        has_mask=batch.has_mask.expand(4),
    )
    one = strong(ContrastSharpness(), same)
    assert torch.equal(one, strong(ContrastSharpness(), same))
    assert not torch.equal(one, strong(ContrastSharpness(), same, seed=1))
    assert not torch.allclose(one[0], one[1])


def test_nothing_to_change_changes_nothing() -> None:
    batch = make_batch()
    torch.testing.assert_close(
        strong(ContrastSharpness(contrast=0, sharpness=0), batch), batch.image
    )


def test_contrast_moves_pixels_to_or_from_the_images_mean() -> None:
    batch = make_batch(8)
    image = batch.image * 0.2 + 0.4  # so that nothing is clamped
    after = strong(
        ContrastSharpness(contrast=0.5, sharpness=0), Batch(**{**vars(batch), "image": image})
    )
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    torch.testing.assert_close(after.mean(dim=(1, 2, 3), keepdim=True), mean)
    factor = (after - mean) / (image - mean)
    spread = factor.flatten(1).quantile(torch.tensor([0.1, 0.9]), dim=1)
    torch.testing.assert_close(spread[0], spread[1], atol=1e-2, rtol=0)
    assert 0.5 <= spread.min() < 0.9 < 1.1 < spread.max() <= 1.5


def test_sharpness_changes_edges_and_no_flat_ground() -> None:
    image = torch.full((8, 1, 32, 37), 0.25)
    image[..., 18:] = 0.75
    batch = Batch(**{**vars(make_batch(8)), "image": image})
    after = strong(ContrastSharpness(contrast=0), batch)
    changed = (after - image).abs().amax(dim=(0, 1, 2)) > 1e-4
    assert changed.nonzero()[:, 0].tolist() == [17, 18]
    steps = (after[..., 18] - after[..., 17])[:, 0, 0]
    assert steps.min() < 0.5 < steps.max()


def test_sharpness_weighs_the_middle_pixel_five_times() -> None:
    """Of a point, smoothing takes 8/13 away and gives 1/13 to each neighbour."""
    image = torch.full((1, 1, 9, 9), 0.5)
    image[..., 4, 4] = 0.6
    change = strong(ContrastSharpness(contrast=0), Batch(**{**vars(make_batch(1)), "image": image}))
    change -= image
    assert (change[0, 0, 4, 4] / change[0, 0, 3, 5]).item() == pytest.approx(-8, rel=1e-3)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_flat_images_stay_as_they_are(value: float) -> None:
    batch = Batch(**{**vars(make_batch()), "image": torch.full((3, 1, 32, 37), value)})
    torch.testing.assert_close(strong(ContrastSharpness(), batch), batch.image)
