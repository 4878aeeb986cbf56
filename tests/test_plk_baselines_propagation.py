from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plk_support import begun, make_task
from sklearn.datasets import make_moons
from sklearn.semi_supervised import LabelSpreading
from torch import Tensor, nn

from plk_baselines import diffusion
from plk_baselines.diffusion import affinities, balanced_seeds, certainty, diffuse, shares
from plk_baselines.propagation import Bank, LabelPropagation, embedding
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import Batch, Prediction, Scale

ROOT_HALF = 2**-0.5
CHAIN = torch.tensor([[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]]).float()


class Points(nn.Module):
    """Images (B,2,1,1) are their own features."""

    def forward(self, images: Tensor) -> Prediction:
        return Prediction(scales=(Scale(features=images, weight=torch.zeros(3, 2)),))


def at(*degrees: float) -> Tensor:
    """Points (B,2,1,1) on the unit circle."""
    angle = torch.tensor(degrees).deg2rad()
    return torch.stack((angle.cos(), angle.sin()), dim=1)[:, :, None, None]


def batch(image: Tensor, label: Tensor | None = None) -> Batch:
    rows = len(image)
    return Batch(
        image=image,
        label=torch.zeros(rows, dtype=torch.long) if label is None else label,
        mask=torch.zeros(rows, 1, 1, 1),
        has_label=torch.full((rows,), label is not None),
        has_mask=torch.zeros(rows, dtype=torch.bool),
    )


def surveyed(
    labelled: Tensor, label: Tensor, unlabelled: Tensor, **options: float
) -> LabelPropagation:
    part = begun(LabelPropagation(**options))  # type: ignore[arg-type]
    part.survey(Points(), [batch(labelled, label)], [batch(unlabelled)])
    return part


def answer(part: LabelPropagation, images: Tensor) -> tuple[Tensor, Tensor]:
    pseudo = part.fuse(Points()(images), {})
    assert pseudo.label is not None
    assert pseudo.label_weight is not None
    return pseudo.label, pseudo.label_weight


# ── diffusion ───────────────────────────────────────────────────────────────────────


def test_three_nodes_by_hand() -> None:
    """A chain 0 - 1 - 2 with a seed at 0.

    S couples neighbours by 1/sqrt(2); with alpha = 1/2, (I - S/2) z = y is solved by
    z = (7, 2 sqrt(2), 1) / 6.
    """
    chain = CHAIN[:3, :3].to_sparse()
    found = diffuse(chain, torch.tensor([[1.0], [0], [0]]), alpha=0.5)
    expected = torch.tensor([[7.0], [2 / ROOT_HALF], [1]]).double() / 6
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.99])
def test_four_nodes_are_the_closed_form(alpha: float) -> None:
    seeds = torch.tensor([[1.0, 0], [0, 0], [0, 0], [0, 1]])
    scale = CHAIN.sum(dim=1).rsqrt()
    inverse = torch.linalg.inv(torch.eye(4) - alpha * scale[:, None] * CHAIN * scale)
    found = diffuse(CHAIN.to_sparse(), seeds, alpha)
    torch.testing.assert_close(found.float(), inverse @ seeds, atol=1e-4, rtol=1e-4)


@given(
    seed=st.integers(0, 1000),
    rows=st.integers(3, 30),
    neighbours=st.integers(1, 40),
    alpha=st.sampled_from([0.2, 0.9, 0.99]),
)
def test_any_graph_is_solved(seed: int, rows: int, neighbours: int, alpha: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    features = nn.functional.normalize(torch.randn(rows, 4, generator=rng), dim=1)
    weights = affinities(features, neighbours, 3.0)
    dense = weights.to_dense().double()
    assert torch.equal(dense, dense.T)
    assert not dense.diagonal().any()
    seeds = torch.eye(rows, 2).double()
    found = diffuse(weights, seeds, alpha)
    scale = dense.sum(dim=1).rsqrt().nan_to_num(posinf=0)
    left = found - alpha * scale[:, None] * (dense @ (scale[:, None] * found))
    torch.testing.assert_close(left, seeds, atol=1e-7, rtol=0)


def test_affinities_by_hand() -> None:
    """Three points at 0, 60 and 90 degrees: each one's nearest; mutual ones count twice."""
    features = at(0, 60, 90)[:, :, 0, 0]
    near, far = np.cos(np.pi / 6) ** 3, 0.5**3
    expected = torch.tensor([[0, far, 0], [far, 0, 2 * near], [0, 2 * near, 0]])
    torch.testing.assert_close(affinities(features, 1, 3.0).to_dense(), expected.float())


def test_the_graph_does_not_depend_on_how_it_is_cut_in_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features = nn.functional.normalize(torch.randn(11, 3), dim=1)
    whole = affinities(features, 4, 3.0).to_dense()
    monkeypatch.setattr(diffusion, "ROWS", 3)
    torch.testing.assert_close(affinities(features, 4, 3.0).to_dense(), whole)


def test_opposite_rows_are_no_neighbours() -> None:
    assert not affinities(at(0, 180)[:, :, 0, 0], 5, 3.0).to_dense().any()


def test_scikit_learn_spreads_alike() -> None:
    points, truth = make_moons(40, noise=0.05, random_state=0)
    features = nn.functional.normalize(torch.tensor(np.c_[points, np.ones(40)]).float(), dim=1)
    weights = affinities(features, 5, 3.0)
    label = torch.full((40,), -1)
    for side in (0, 1):
        label[int(np.flatnonzero(truth == side)[0])] = side
    model = LabelSpreading(
        kernel=lambda *_: weights.to_dense().numpy(), alpha=0.9, max_iter=2000, tol=1e-12
    )
    model.fit(features.numpy(), label.numpy())
    found = shares(diffuse(weights, balanced_seeds(label, label >= 0, 2), 0.9))
    np.testing.assert_allclose(found.numpy(), model.label_distributions_, atol=1e-5)


def test_diffusion_beats_the_nearest_labelled_neighbour() -> None:
    """Two crescents, one label each: along a crescent is nearer than across, for a graph."""
    points, truth = make_moons(200, noise=0.04, random_state=1)
    features = nn.functional.normalize(
        torch.tensor(np.c_[points - points.mean(0), np.ones(200)]).float(), dim=1
    )
    label = torch.full((200,), -1)
    seeds = [int(np.flatnonzero(truth == side)[3]) for side in (0, 1)]
    label[seeds] = torch.tensor([0, 1])
    graph = affinities(features, 6, 200.0)
    scores = shares(diffuse(graph, balanced_seeds(label, label >= 0, 2), 0.999))
    diffused = (scores.argmax(dim=1).numpy() == truth).mean()
    nearest = ((features @ features[seeds].T).argmax(dim=1).numpy() == truth).mean()
    assert nearest < 0.9
    assert diffused > 0.95


def test_each_class_pours_in_the_same_however_frequent_it_is() -> None:
    label = torch.tensor([0, 0, 0, 1, 7])
    seeds = balanced_seeds(label, label < 7, 3)
    third = 1 / 3
    expected = torch.tensor([[third, 0, 0]] * 3 + [[0, 1, 0], [0, 0, 0]])
    torch.testing.assert_close(seeds.float(), expected)


def test_rows_that_nothing_reached_are_undecided() -> None:
    found = shares(torch.tensor([[0.0, 0.0], [3.0, 1.0], [-1e-12, 2.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5], [0.75, 0.25], [0.0, 1.0]]))
    expected = 1 - (0.75 * np.log2(4 / 3) + 0.25 * np.log2(4))
    torch.testing.assert_close(
        certainty(found), torch.tensor([0.0, expected, 1.0], dtype=torch.float32)
    )


# ── the fuser ───────────────────────────────────────────────────────────────────────


def test_before_the_first_round_nothing_counts() -> None:
    label, weight = answer(begun(LabelPropagation()), at(0, 90))
    torch.testing.assert_close(label, torch.full((2, 3), 1 / 3))
    assert not weight.any()


def test_labels_flow_through_unlabelled_rows() -> None:
    """At 50 degrees the seed at 90 is nearer, but the chain from 0 leads there."""
    chain = at(10, 20, 30, 40, 50)
    part = surveyed(at(0, 90), torch.tensor([0, 1]), chain, neighbours=2, gamma=30.0)
    label, weight = answer(part, at(50, 90))
    assert label.argmax(dim=1).tolist() == [0, 1]
    assert (weight > 0.5).all()
    assert not label[:, 2].any()


def test_a_new_row_is_labelled_by_its_neighbours_in_the_bank() -> None:
    part = surveyed(at(0, 90), torch.tensor([0, 1]), at(5, 85), neighbours=2, gamma=2.0)
    bank = part.bank
    query = at(30)
    affinity, row = (bank.features @ query[0, :, 0, 0]).clamp_min(0).pow(2).topk(2)
    expected = (affinity[:, None] * bank.scores[row]).sum(dim=0)
    label, weight = answer(part, query)
    torch.testing.assert_close(label[0], expected / expected.sum())
    torch.testing.assert_close(weight, certainty(label))


def test_rows_far_from_all_others_are_ignored() -> None:
    part = surveyed(at(0, 10), torch.tensor([0, 1]), at(5))
    label, weight = answer(part, at(180))
    torch.testing.assert_close(label, torch.full((1, 3), 1 / 3))
    assert weight.item() == 0


def test_labels_of_unlabelled_rows_are_not_read() -> None:
    images, seen, label = at(10, 80), at(0, 90), torch.tensor([0, 1])
    honest = surveyed(seen, label, images)
    part = begun(LabelPropagation())
    poisoned = batch(images, torch.tensor([1, 0]))  # as with class labels on unlabelled rows
    part.survey(Points(), [batch(seen, label)], [poisoned])
    assert torch.equal(part.bank.scores, honest.bank.scores)


def test_labelled_rows_without_a_class_are_no_seeds() -> None:
    part = begun(LabelPropagation())
    known = replace(
        batch(at(0, 40, 90), torch.tensor([0, 99, 1])), has_label=torch.tensor([True, False, True])
    )
    part.survey(Points(), [known], [])
    expected = surveyed(at(0, 90), torch.tensor([0, 1]), at(40)).bank.scores[[0, 2, 1]]
    torch.testing.assert_close(part.bank.scores, expected)


def test_a_batch_does_not_depend_on_its_mates_nor_move_the_bank() -> None:
    part = surveyed(at(0, 90), torch.tensor([0, 1]), at(10, 30, 70))
    before = part.bank.scores.clone()
    label, weight = answer(part, at(15, 60, 80))
    alone, lone_weight = answer(part, at(60))
    torch.testing.assert_close(label[1:2], alone)
    torch.testing.assert_close(weight[1:2], lone_weight)
    assert torch.equal(part.bank.scores, before)


def test_a_model_without_scales_is_refused() -> None:
    with pytest.raises(PluginError, match=r"label-propagation: .*expected a backbone with scales"):
        embedding(Prediction(class_logits=torch.zeros(1, 3)))


def test_no_more_rows_than_the_capacity_are_kept_and_any_may_be() -> None:
    angles = torch.arange(40).float()

    def stream() -> Iterator[Batch]:
        for chunk in at(*angles.tolist()).split(7):
            yield batch(chunk)

    kept = set()
    for seed in range(8):
        torch.manual_seed(seed)
        part = begun(LabelPropagation(capacity=6))
        part.survey(Points(), [batch(at(0, 90), torch.tensor([0, 1]))], stream())
        assert part.bank.features.shape == (8, 2)
        assert part.bank.scores.shape == (8, 3)
        assert torch.equal(part.bank.features[:2], at(0, 90)[:, :, 0, 0])
        kept |= set(part.bank.features[2:, 1].tolist())
    assert len(kept) > 20


def test_the_bank_is_restored_into_a_fresh_process() -> None:
    part = surveyed(at(0, 90), torch.tensor([0, 1]), at(10, 30))
    fresh = begun(LabelPropagation())
    holder = nn.ModuleDict({"label-propagation": fresh.bank})
    saved = nn.ModuleDict({"label-propagation": part.bank}).state_dict()
    holder.load_state_dict(saved)
    for one, other in zip(answer(part, at(20, 70)), answer(fresh, at(20, 70)), strict=True):
        assert torch.equal(one, other)
    smaller = Bank(3)
    fresh.bank.load_state_dict(smaller.state_dict())
    assert fresh.bank.features.shape == (0, 0)


def test_tasks_classes_decide_the_scores() -> None:
    assert begun(LabelPropagation(), make_task()).bank.scores.shape == (0, 3)
