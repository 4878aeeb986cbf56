from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pseudolabel_kit.evidence import lesion_classes, minmax, smooth, target_class, to_evidence
from pseudolabel_kit.interfaces import Task


def make_task(*lesions: int) -> Task:
    return Task(channels=1, size=(32, 32), classes=("a", "b", "c"), lesion_classes=lesions)


def test_evidence_counts_negative_credit_and_all_channels() -> None:
    signed = torch.zeros(1, 3, 32, 32)
    signed[:, 0, 8, 8], signed[:, 2, 24, 24] = -5, 5
    found = to_evidence(signed)
    assert found[0, 0, 8, 8] == found[0, 0, 24, 24] == 1
    assert found[0, 0, 16, 16] == 0


@given(exponent=st.integers(-20, 20), seed=st.integers(0, 99))
def test_evidence_does_not_depend_on_the_attributions_unit(exponent: int, seed: int) -> None:
    signed = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(to_evidence(signed * 10.0**exponent), to_evidence(signed))


def test_one_outlier_does_not_swallow_the_rest() -> None:
    signed = torch.rand(1, 1, 64, 64)
    calm = to_evidence(signed)
    signed[0, 0, 32, 32] = 1e6
    assert to_evidence(signed).mean() > 0.9 * calm.mean()


def test_evidence_of_nothing_is_nothing() -> None:
    assert not to_evidence(torch.zeros(2, 1, 32, 32)).any()


def test_smoothing_keeps_the_sum_of_an_inner_point() -> None:
    point = torch.zeros(1, 1, 9, 9)
    point[..., 4, 4] = 1
    spread = smooth(point)
    assert spread.sum().item() == pytest.approx(1)
    assert spread[0, 0, 4, 4].item() == pytest.approx((3 / 9) ** 2)


def test_minmax_scales_each_image_by_itself_and_a_flat_one_to_nothing() -> None:
    maps = torch.tensor([[2.0, 4, 6], [7, 7, 7]]).reshape(2, 1, 1, 3)
    expected = torch.tensor([[0, 0.5, 1], [0, 0, 0]]).reshape(2, 1, 1, 3)
    torch.testing.assert_close(minmax(maps), expected, atol=1e-6, rtol=0)


def test_target_class() -> None:
    logits = torch.tensor([[5.0, 1, 2], [0, 3, 1]])
    assert target_class("predicted", logits, make_task(1, 2)).tolist() == [0, 1]
    assert target_class("lesion", logits, make_task(1, 2)).tolist() == [2, 1]
    assert target_class("lesion", logits, make_task()).tolist() == [0, 1]


def test_where_no_class_is_named_all_can_hold_lesions() -> None:
    assert lesion_classes(make_task()) == (0, 1, 2)
    assert lesion_classes(make_task(2)) == (2,)
