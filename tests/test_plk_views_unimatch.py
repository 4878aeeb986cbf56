from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_plk_views import view_of, views
from torch import Tensor

from plk_views.unimatch import UniMatch
from pseudolabel_kit.interfaces import Prediction, PseudoLabels
from pseudolabel_kit.losses import consistency


def test_only_the_third_view_has_noisy_features_and_it_shows_the_weak_image() -> None:
    before = view_of()
    first, second, third = views(UniMatch(), before)
    assert first.on_features is second.on_features is None
    assert third.on_features is not None
    assert third.batch is before.batch
    assert not torch.equal(first.batch.image, second.batch.image)
    for strong in (first, second):
        assert not torch.equal(strong.batch.image, before.batch.image)


def test_whole_channels_of_every_map_are_dropped_and_the_rest_made_up_for() -> None:
    torch.manual_seed(0)
    drop = views(UniMatch(), view_of())[2].on_features
    assert drop is not None
    maps = (torch.ones(8, 32, 4, 4), torch.ones(8, 64, 2, 2))
    for before, after in zip(maps, drop(maps), strict=True):
        assert after.shape == before.shape
        channels = after.amax(dim=(2, 3))
        assert torch.equal(channels, after.amin(dim=(2, 3)))
        assert set(channels.flatten().tolist()) == {0, 2}
        assert channels.mean().item() == pytest.approx(1, abs=0.15)
        assert (before == 1).all()


def test_the_views_count_a_quarter_a_quarter_and_a_half() -> None:
    """As the engine pools them: one mean over all rows of all views."""
    before = view_of()
    rows, size = 4, before.batch.mask.shape[1:]
    pseudo = PseudoLabels(
        mask=torch.ones(rows, *size),
        mask_weight=torch.ones(rows, 1, *size[1:]),
        label=torch.tensor([[1.0, 0, 0]]).expand(rows, 3),
        label_weight=torch.ones(rows),
    )
    found = views(UniMatch(cutmix=0), replace(before, pseudo=pseudo))
    answers = [
        Prediction(
            mask_logits=torch.full((rows, *size), logit),
            class_logits=torch.tensor([[logit, 0, 0]]).expand(rows, 3),
        )
        for logit in (-1.0, 2.0, 0.5)
    ]

    def pooled(kind: str, labels: list[PseudoLabels]) -> tuple[Tensor, Tensor]:
        terms = [
            consistency(answer, label, background_weight=1)[kind]
            for answer, label in zip(answers, labels, strict=True)
        ]
        return torch.cat([t.total for t in terms]), torch.cat([t.count for t in terms])

    for kind in ("mask", "label"):
        total, count = pooled(kind, [view.pseudo for view in found])
        alone, _ = pooled(kind, [pseudo] * 3)
        first, second, third = alone.reshape(3, rows).mean(dim=1)
        torch.testing.assert_close(total.sum() / count.sum(), (first + second + 2 * third) / 4)
