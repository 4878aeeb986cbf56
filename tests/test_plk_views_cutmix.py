from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from test_plk_views import view_of, views
from test_plk_views_paste import assert_labels_fit, told_apart

from plk_views.cutmix import CutMix, mix, mixed_labels, partners
from plk_views.paste import boxes
from pseudolabel_kit.interfaces import PseudoLabels


@given(rows=st.integers(1, 9), seed=st.integers(0, 99))
def test_nobody_is_its_own_partner_but_who_is_alone(rows: int, seed: int) -> None:
    torch.manual_seed(seed)
    found = partners(torch.zeros(rows, 1)).tolist()
    assert sorted(found) == list(range(rows))
    assert all(mine != other for mine, other in enumerate(found)) or rows == 1


def test_one_row_stays_as_it_is() -> None:
    before = view_of(1)
    (after,) = views(CutMix(p=1), before)
    assert torch.equal(after.batch.image, before.batch.image)
    torch.testing.assert_close(after.pseudo.label, before.pseudo.label)


@pytest.mark.parametrize(("p", "least", "most"), [(0.0, 0, 0), (0.5, 10, 30), (1.0, 40, 40)])
def test_rows_are_pasted_into_with_probability_p(p: float, least: int, most: int) -> None:
    (after,) = views(CutMix(p=p, area=(0.2, 0.8)), told_apart(40))
    assert_labels_fit(after)
    changed = (after.batch.image != told_apart(40).batch.image).flatten(1).any(dim=1)
    assert least <= changed.sum() <= most


def test_boxes_have_the_area_and_the_aspect_that_were_asked_for() -> None:
    torch.manual_seed(0)
    sides = CutMix(p=1, area=(0.1, 0.2), aspect=2)._sides(torch.zeros(500, 1))
    area, ratio = sides.prod(dim=1), sides[:, 0] / sides[:, 1]
    assert 0.1 <= area.min() < 0.105
    assert 0.195 < area.max() <= 0.2001
    assert 0.499 <= ratio.min() < 0.52
    assert 1.95 < ratio.max() <= 2.001
    assert ratio.log().mean().abs() < 0.05


def test_class_labels_are_mixed_by_the_pasted_area() -> None:
    """A quarter of the second row in the first: three parts of one class, one of the other."""
    labels = PseudoLabels(
        mask=None, mask_weight=None, label=torch.eye(2), label_weight=torch.ones(2)
    )
    view = replace(told_apart(2), pseudo=labels)
    turned = replace(view, pseudo=replace(labels, label=torch.eye(2).flip(0)))
    quarter = boxes(torch.full((2, 2), 0.5), torch.full((2, 2), 0.25), (6, 6))
    pseudo = mix(view, turned, quarter).pseudo
    torch.testing.assert_close(pseudo.label, torch.tensor([[0.75, 0.25], [0.25, 0.75]]))
    torch.testing.assert_close(pseudo.label_weight, torch.ones(2))


@given(seed=st.integers(0, 99), ignored=st.booleans())
def test_the_loss_on_a_mixture_is_the_mixture_of_both_losses(seed: int, ignored: bool) -> None:
    torch.manual_seed(seed)
    logits, share = torch.randn(5, 3), torch.rand(5)
    one, other = (
        PseudoLabels(label=torch.softmax(torch.randn(5, 3), 1), label_weight=torch.rand(5))
        for _ in range(2)
    )
    if ignored:
        one, other = (replace(each, label_weight=torch.zeros(5)) for each in (one, other))

    def loss(label: torch.Tensor | None, weight: torch.Tensor | None) -> torch.Tensor:
        assert label is not None
        assert weight is not None
        return F.cross_entropy(logits, label, reduction="none") * weight

    label, weight = mixed_labels(one, other, share)
    expected = (1 - share) * loss(one.label, one.label_weight)
    expected += share * loss(other.label, other.label_weight)
    torch.testing.assert_close(loss(label, weight), expected)
    assert label is not None
    torch.testing.assert_close(label.sum(dim=1), torch.ones(5))
