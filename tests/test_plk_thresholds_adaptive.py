"""FlexMatch and SoftMatch against numbers worked by hand, and what adaptive methods remember."""

from __future__ import annotations

from math import exp

import pytest
import torch
from plk_support import begun, make_prediction
from plk_thresholds_support import classes, close, lesion, remembered, weights
from torch import nn

from plk_thresholds.adaptive import Adaptive
from plk_thresholds.flexmatch import FlexMatch
from plk_thresholds.freematch import FreeMatch
from plk_thresholds.softmatch import SoftMatch
from pseudolabel_kit.interfaces import Prediction

every_method = pytest.mark.parametrize("method", [FlexMatch, FreeMatch, SoftMatch])


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
