"""FlexMatch, FreeMatch and SoftMatch against numbers worked by hand."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from plk_support import begun, make_prediction, make_task
from torch import Tensor, nn
from torch.autograd import grad

from plk_thresholds.adaptive import Adaptive
from plk_thresholds.confidence import Choice
from plk_thresholds.flexmatch import FlexMatch
from plk_thresholds.freematch import FreeMatch, fairness
from plk_thresholds.softmatch import SoftMatch
from pseudolabel_kit.interfaces import Prediction, PseudoLabels

every_method = pytest.mark.parametrize("method", [FlexMatch, FreeMatch, SoftMatch])


def classes(*rows: list[float]) -> Prediction:
    """Rows with these class probabilities."""
    return Prediction(class_logits=torch.tensor(rows).log())


def lesion(*pixels: float) -> Prediction:
    """One row whose pixels are lesion with these probabilities."""
    return Prediction(mask_logits=torch.tensor(pixels).logit().reshape(1, 1, 1, -1))


def weights(part: Adaptive, prediction: Prediction) -> list[float]:
    pseudo = part.fuse(prediction, {})
    found = pseudo.mask_weight if pseudo.label_weight is None else pseudo.label_weight
    assert found is not None
    return [round(w, 6) for w in found.flatten().tolist()]


def remembered(part: Adaptive, name: str) -> Tensor:
    """What the part remembers of its only target, without the axis of problems."""
    return part.memory("class" if part.targets == "class" else "mask")[name][0]


def close(found: Tensor, *expected: float) -> None:
    torch.testing.assert_close(found, found.new_tensor(expected).reshape(found.shape))


# ── FlexMatch ───────────────────────────────────────────────────────────────────────


def test_flexmatch_begins_with_every_row_and_learns_a_status() -> None:
    part = begun(FlexMatch(threshold=0.9, momentum=0.5, targets="class"))
    batch = classes([0.95, 0.03, 0.02], [0.92, 0.04, 0.04], [0.05, 0.9001, 0.0499], [0.4, 0.3, 0.3])
    assert weights(part, batch) == [1, 1, 1, 1]
    close(remembered(part, "status"), 1 / 4, 1 / 8, 0)  # half of 2, 1 and 0 rows of 4

    # beta = status / max(1/4, unused 5/8) = 0.4, 0.2, 0; T = 0.9 beta / (2 - beta)
    memory = part.memory("class")
    close(part.thresholds(memory), 0.9 * 0.4 / 1.6, 0.9 * 0.2 / 1.8, 0)

    memory["status"].copy_(torch.tensor([[0.6, 0.15, 0.15]]))  # unused 0.1: warm-up is over
    close(part.thresholds(memory), 0.9, 0.9 * 0.25 / 1.75, 0.9 * 0.25 / 1.75)
    late = classes([0.89, 0.06, 0.05], [0.91, 0.05, 0.04], [0.3, 0.36, 0.34])
    assert weights(part, late) == [0, 1, 1]  # 0.36 passes a threshold of 0.129


def test_flexmatch_follows_background_and_lesion_apart() -> None:
    part = begun(FlexMatch(threshold=0.9, momentum=0.0))
    weights(part, lesion(0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.93, 0.5))
    close(remembered(part, "status"), 6 / 8, 1 / 8)
    # beta = 1, 1/6; T = 0.9, 0.9 / 11 = 0.0818: less sure lesion counts, background does not
    close(part.thresholds(part.memory("mask")), 0.9, 0.9 / 11)
    assert weights(part, lesion(0.09, 0.11, 0.6, 0.91)) == [1, 0, 1, 1]


# ── FreeMatch ───────────────────────────────────────────────────────────────────────


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


# ── SoftMatch ───────────────────────────────────────────────────────────────────────


def at(part: SoftMatch, mean: float, variance: float) -> SoftMatch:
    memory = part.memory("mask")
    memory["mean"].fill_(mean)
    memory["variance"].fill_(variance)
    return part


@pytest.mark.parametrize(("n_sigma", "at_one_sigma"), [(1.0, exp(-0.5)), (2.0, exp(-2.0))])
def test_softmatch_is_a_gaussian_below_the_mean_and_one_above(
    n_sigma: float, at_one_sigma: float
) -> None:
    part = at(begun(SoftMatch(n_sigma=n_sigma)), mean=0.8, variance=0.01)
    found = weights(part, lesion(0.2, 0.7, 0.9, 0.05, 0.6))  # mean, -sigma, +sigma, above, -2 sigma
    assert found == pytest.approx([1, at_one_sigma, 1, 1, at_one_sigma**4], abs=2e-6)


def test_softmatch_follows_mean_and_unbiased_variance() -> None:
    part = begun(SoftMatch(momentum=0.5, targets="class"))
    close(remembered(part, "mean"), 1 / 3)
    close(remembered(part, "variance"), 1)
    batch = classes([0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.05, 0.05, 0.9], [0.5, 0.4, 0.1])
    assert weights(part, batch) == [1, 1, 1, 1]
    close(remembered(part, "mean"), (1 / 3 + 0.7) / 2)
    close(remembered(part, "variance"), (1 + 0.1 / 3) / 2)  # squares 0.01 0.01 0.04 0.04


def test_one_row_has_no_variance_and_harms_nothing() -> None:
    part = begun(SoftMatch(momentum=0.0, targets="class"))
    assert weights(part, classes([0.6, 0.2, 0.2])) == [1]
    close(remembered(part, "variance"), 0)
    assert weights(part, classes([0.61, 0.2, 0.19], [0.5, 0.3, 0.2])) == [1, 0]


def test_alignment_weighs_as_if_categories_were_even_and_leaves_labels() -> None:
    part = at(begun(SoftMatch(align=True)), mean=0.8, variance=0.02)
    part.memory("mask")["share"].copy_(torch.tensor([[0.8, 0.2]]))
    prediction = lesion(0.5, 0.4)
    # q / share = 0.625, 2.5 scaled: lesion 0.8; and 0.75, 2 scaled: lesion 8/11
    pseudo = part.fuse(prediction, {})
    assert pseudo.mask is not None
    assert pseudo.mask_weight is not None
    expected = exp(-((0.8 - 8 / 11) ** 2) / (2 * 0.02 / 4))
    assert pseudo.mask_weight.flatten().tolist() == pytest.approx([1, expected], abs=1e-5)
    assert pseudo.mask.flatten().tolist()[1] == 0  # aligned it would be lesion


def test_alignment_follows_the_mean_probabilities() -> None:
    part = begun(SoftMatch(align=True, momentum=0.0))
    weights(part, lesion(0.1, 0.3))
    close(remembered(part, "share"), 0.8, 0.2)
    assert "share" not in dict(begun(SoftMatch()).memory("mask").named_buffers())


# ── memory ──────────────────────────────────────────────────────────────────────────


@every_method
def test_weights_come_from_earlier_batches(method: type[Adaptive]) -> None:
    one, other = (begun(method(momentum=0.5, targets="both")) for _ in range(2))
    one.fuse(of_logit(9.0), {})
    other.fuse(of_logit(-0.5), {})
    now = make_prediction()
    ours, theirs = one.fuse(now, {}), other.fuse(now, {})
    assert ours.mask_weight is not None
    assert theirs.mask_weight is not None
    assert not torch.equal(ours.mask_weight, theirs.mask_weight)


@every_method
def test_saved_and_restored_it_weighs_and_remembers_the_same(method: type[Adaptive]) -> None:
    old, new = (begun(method(momentum=0.9, targets="both")) for _ in range(2))
    for seed in range(4):
        old.fuse(make_prediction(seed=seed), {})
    state(new).load_state_dict(state(old).state_dict())
    for seed in range(4, 6):
        ours, theirs = (part.fuse(make_prediction(seed=seed), {}) for part in (old, new))
        for name in ("mask_weight", "label_weight"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name))
    for name, value in state(old).state_dict().items():
        assert torch.equal(value, state(new).state_dict()[name])


@every_method
def test_outside_training_it_remembers_nothing(method: type[Adaptive]) -> None:
    part = begun(method(targets="both"))
    before = {name: value.clone() for name, value in state(part).state_dict().items()}
    state(part).eval()
    part.fuse(of_logit(9.0), {})
    assert all(torch.equal(before[k], v) for k, v in state(part).state_dict().items())
    state(part).train()
    part.fuse(of_logit(9.0), {})
    assert not any(torch.equal(before[k], v) for k, v in state(part).state_dict().items())


@every_method
def test_masks_and_classes_keep_memories_apart(method: type[Adaptive]) -> None:
    both, masks = begun(method(targets="both")), begun(method(targets="mask"))
    for part in (both, masks):
        part.fuse(make_prediction(), {})
    assert {k.partition(".")[0] for k in state(both).state_dict()} == {"mask", "class"}
    assert {k.partition(".")[0] for k in state(masks).state_dict()} == {"mask"}
    for name, value in state(masks).state_dict().items():
        assert torch.equal(value, state(both).state_dict()[name])


def of_logit(logit: float) -> Prediction:
    """Two rows that are all lesion, and of the first class, by as much."""
    return Prediction(
        class_logits=torch.tensor([[logit, 0.0, 0.0]] * 2),
        mask_logits=torch.full((2, 1, 4, 4), logit),
    )


def state(part: Adaptive) -> nn.Module:
    assert part.state is not None
    return part.state
