from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pseudolabel_kit.interfaces import LossTerm, Prediction, PseudoLabels
from pseudolabel_kit.losses import (
    classification,
    consistency,
    segmentation,
    unbiased,
    weighted_bce,
)

PROBABILITY = st.floats(0.01, 0.99)
WEIGHT = st.floats(0.05, 1.0)


def mean(term: LossTerm) -> float:
    return float(term.total.sum() / term.count.sum())


@given(t=PROBABILITY, w=WEIGHT)
def test_unbiased_undoes_the_best_answer_under_the_weighted_loss(t: float, w: float) -> None:
    z = torch.tensor(t / (t + w * (1 - t)), dtype=torch.float64).logit().requires_grad_()
    target = torch.tensor(t, dtype=torch.float64)
    (slope,) = torch.autograd.grad(weighted_bce(z, target, w), z)
    assert slope.item() == pytest.approx(0, abs=1e-9)  # it is the best answer
    assert torch.sigmoid(unbiased(z, w)).item() == pytest.approx(t)


def test_weighted_bce_is_finite_where_a_probability_would_be_0_or_1() -> None:
    logits = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = weighted_bce(logits, torch.tensor([1.0, 0.0]), 0.5)
    loss.sum().backward()
    assert loss.tolist() == [1e4, 5e3]
    assert logits.grad is not None
    assert logits.grad.tolist() == [-1, 0.5]


def test_rows_without_a_label_do_not_count_whatever_stands_there() -> None:
    logits = torch.randn(3, 4)
    has = torch.tensor([True, False, True])
    one = classification(logits, torch.tensor([1, -100, 3]), has)
    other = classification(logits, torch.tensor([1, 2, 3]), has)
    assert one.count.tolist() == [1, 0, 1]
    assert torch.equal(one.total, other.total)
    expected = torch.nn.functional.cross_entropy(logits[has], torch.tensor([1, 3]))
    assert mean(one) == pytest.approx(expected.item())


def test_rows_without_a_mask_do_not_count() -> None:
    logits, mask = torch.randn(3, 1, 4, 5), torch.rand(3, 1, 4, 5).round()
    has = torch.tensor([False, True, True])
    term = segmentation(logits, mask, has, 0.5)
    assert term.total[0] == 0
    assert mean(term) == pytest.approx(weighted_bce(logits, mask, 0.5)[1:].mean().item())


def test_all_rows_missing_is_a_zero_without_a_count_and_with_a_gradient() -> None:
    logits = torch.randn(2, 1, 4, 4, requires_grad=True)
    term = segmentation(logits, torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.bool), 0.5)
    term.total.sum().backward()
    assert term.count.sum() == 0
    assert logits.grad is not None
    assert logits.grad.abs().sum() == 0


def labels(weight: float, with_classes: bool) -> PseudoLabels:
    mask_weight = torch.zeros(2, 1, 4, 4)
    mask_weight[0, 0, :2] = weight
    return PseudoLabels(
        mask=torch.full((2, 1, 4, 4), 0.3),
        mask_weight=mask_weight,
        label=torch.eye(3)[:2] if with_classes else None,
        label_weight=torch.tensor([1.0, 0.0]) if with_classes else None,
    )


def test_ignored_pixels_and_rows_stay_in_the_denominator() -> None:
    student = Prediction(class_logits=torch.zeros(2, 3), mask_logits=torch.zeros(2, 1, 4, 4))
    terms = consistency(student, labels(1.0, with_classes=True), background_weight=1.0)
    assert terms["mask"].count.tolist() == terms["label"].count.tolist() == [1, 1]
    assert mean(terms["mask"]) == pytest.approx(0.6931 / 4, abs=1e-4)
    assert mean(terms["label"]) == pytest.approx(1.0986 / 2, abs=1e-4)


def test_masks_alone_give_one_term_linear_in_their_weight() -> None:
    student = Prediction(class_logits=torch.zeros(2, 3), mask_logits=torch.randn(2, 1, 4, 4))
    once = consistency(student, labels(1.0, with_classes=False), background_weight=0.5)
    twice = consistency(student, labels(2.0, with_classes=False), background_weight=0.5)
    assert list(once) == ["mask"]
    assert mean(twice["mask"]) == pytest.approx(2 * mean(once["mask"]))


@given(rows=st.integers(1, 6), cut=st.integers(0, 6), seed=st.integers(0, 99))
def test_a_term_is_the_same_over_any_number_of_processes(rows: int, cut: int, seed: int) -> None:
    torch.manual_seed(seed)
    logits, mask = torch.randn(rows, 1, 3, 3), torch.rand(rows, 1, 3, 3)
    has = torch.rand(rows) < 0.7
    has[0] = True
    parts = [slice(0, cut), slice(cut, None)]
    whole = segmentation(logits, mask, has, 0.5)
    split = [segmentation(logits[p], mask[p], has[p], 0.5) for p in parts]
    total = sum(term.total.sum() for term in split)
    assert mean(whole) == pytest.approx(float(total / sum(term.count.sum() for term in split)))
