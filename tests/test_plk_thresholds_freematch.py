"""FreeMatch against numbers worked by hand."""

from __future__ import annotations

from math import log

import pytest
import torch
from plk_support import begun, make_prediction, make_task
from plk_thresholds_support import classes, close, lesion, remembered, weights
from torch.autograd import grad

from plk_thresholds.confidence import Choice
from plk_thresholds.freematch import FreeMatch, fairness
from pseudolabel_kit.interfaces import Prediction, PseudoLabels


def test_freematch_follows_confidence_shares_and_histogram() -> None:
    part = begun(FreeMatch(momentum=0.75, targets="class"))
    close(part.thresholds(part.memory("class")), 1 / 3, 1 / 3, 1 / 3)
    batch = classes([0.7, 0.2, 0.1], [0.5, 0.1, 0.4])
    assert weights(part, batch) == [1, 1]
    close(remembered(part, "confidence"), 0.75 / 3 + 0.25 * 0.6)  # 0.4
    close(remembered(part, "share"), 0.25 + 0.15, 0.25 + 0.0375, 0.25 + 0.0625)
    close(remembered(part, "histogram"), 0.25 + 0.25, 0.25, 0.25)

    # tau(c) = p(c) / max p * tau = 0.4, 0.2875, 0.3125
    close(part.thresholds(part.memory("class")), 0.4, 0.2875, 0.3125)
    late = classes([0.39, 0.31, 0.3], [0.41, 0.3, 0.29], [0.33, 0.34, 0.33])
    assert weights(part, late) == [0, 1, 1]


def test_freematch_asks_less_of_the_rarer_category_of_a_mask() -> None:
    part = begun(FreeMatch(momentum=0.0))
    weights(part, lesion(0.1, 0.1, 0.1, 0.9))
    close(remembered(part, "confidence"), 0.9)
    close(remembered(part, "share"), 0.7, 0.3)
    close(part.thresholds(part.memory("mask")), 0.9, 0.9 * 3 / 7)
    assert weights(part, lesion(0.11, 0.09, 0.51)) == [0, 1, 1]


# ── fairness ────────────────────────────────────────────────────────────────────────


def choice_of(*rows: list[float]) -> Choice:
    return Choice.of_classes(torch.tensor(rows).log())


EVERY = torch.ones(3, 1, 1, dtype=torch.bool)


def test_the_fairness_term_is_minus_the_cross_entropy_of_the_two_ratios() -> None:
    choice = choice_of([0.8, 0.2], [0.6, 0.4], [0.3, 0.7])
    found = fairness(choice, EVERY, torch.tensor([[0.6, 0.4]]), torch.tensor([[0.75, 0.25]]))
    # p / h = 0.8, 1.6, scaled 1/3, 2/3; student: mean 1.7/3, 1.3/3 over shares 2/3, 1/3
    # = 0.85, 1.3, scaled by 2.15
    expected = 1 / 3 * log(0.85 / 2.15) + 2 / 3 * log(1.3 / 2.15)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_fairness_term_reads_counted_choices_alone() -> None:
    even = torch.tensor([[0.5, 0.5]])
    rows = choice_of([0.8, 0.2], [0.3, 0.7], [0.01, 0.99])
    two = choice_of([0.8, 0.2], [0.3, 0.7])
    counted = torch.tensor([True, True, False])[:, None, None]
    torch.testing.assert_close(
        fairness(rows, counted, even, even), fairness(two, EVERY[:2], even, even)
    )
    assert fairness(rows, ~EVERY, even, even) == 0


@pytest.mark.parametrize(
    ("rows", "sign"),
    [
        ([[0.3, 0.0], [0.3, 0.0], [0.0, 0.4]], 1),  # rare: 0.48 of probability, 1/3 of labels
        ([[2.0, 0.0], [2.0, 0.0], [0.0, 0.4]], -1),  # rare: 0.28 of probability, 1/3 of labels
    ],
)
def test_descent_raises_a_category_with_more_probability_than_labels(
    rows: list[list[float]], sign: int
) -> None:
    logits = torch.tensor(rows, requires_grad=True)
    even = torch.tensor([[0.5, 0.5]])
    (slope,) = grad(fairness(Choice.of_classes(logits), EVERY, even, even), [logits])
    assert (-sign * slope[:, 1] > 0).all()
    torch.testing.assert_close(slope[:, 0], -slope[:, 1])


def test_a_category_that_is_never_chosen_leaves_the_term_finite() -> None:
    logits = torch.tensor(
        [[3.0, 0.0, -1.0], [0.0, 2.0, -1.0], [1.0, 0.0, -1.0]], requires_grad=True
    )
    third = torch.full((1, 3), 1 / 3)
    value = fairness(Choice.of_classes(logits), EVERY, third, third)
    (slope,) = grad(value, [logits])
    assert -3 < value < 0
    assert slope.isfinite().all()


def test_the_fairness_loss_term_has_its_value_and_reaches_both_heads() -> None:
    part = begun(FreeMatch(fairness=0.5, targets="both"))
    for seed in range(5):
        pseudo = part.fuse(make_prediction(seed=seed), {})
    drawn = make_prediction(seed=1)
    assert drawn.class_logits is not None
    assert drawn.mask_logits is not None
    heads = [drawn.class_logits.requires_grad_(), drawn.mask_logits.requires_grad_()]
    terms = part.loss(drawn, pseudo, make_prediction(seed=3))
    assert set(terms) == {"mask", "label", "mask.fairness", "label.fairness"}

    assert pseudo.label_weight is not None
    memory, term = part.memory("class"), terms["label.fairness"]
    counted = pseudo.label_weight[:, None, None] > 0
    choice = Choice.of_classes(heads[0])
    expected = 0.5 * fairness(choice, counted, memory["share"], memory["histogram"])
    torch.testing.assert_close(term.total.sum() / term.count.sum(), expected)
    both = terms["mask.fairness"].total.sum() + terms["label.fairness"].total.sum()
    assert all(slope.any() for slope in grad(both, heads))


def test_the_fairness_term_undoes_the_background_weight() -> None:
    """A student at the fixed point of the weighted loss is judged by the true probabilities."""
    task = make_task()
    part = begun(FreeMatch(fairness=1.0), task)
    true = torch.tensor([0.2, 0.3, 0.7, 0.1]).logit().reshape(1, 1, 2, 2)
    student = Prediction(mask_logits=true - log(task.background_weight))
    pseudo = PseudoLabels(mask=torch.zeros(1, 1, 2, 2), mask_weight=torch.ones(1, 1, 2, 2))
    memory = part.memory("mask")
    expected = fairness(
        Choice.of_masks(true),
        torch.ones(1, 1, 4, dtype=torch.bool),
        memory["share"],
        memory["histogram"],
    )
    torch.testing.assert_close(
        part.loss(student, pseudo, student)["mask.fairness"].total[0], expected
    )


def test_without_its_weight_there_is_no_fairness_term() -> None:
    part, prediction = begun(FreeMatch(fairness=0.0, targets="both")), make_prediction()
    assert set(part.loss(prediction, part.fuse(prediction, {}), prediction)) == {"mask", "label"}
