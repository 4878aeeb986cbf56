from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_calibration_error,
    binary_f1_score,
)

from pseudolabel_kit.engine.pixels import BINS, EDGES, Tally


def random_maps(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(3, 1, 16, 16, generator=generator) < 0.2
    noise = torch.rand(3, 1, 16, 16, generator=generator)
    return (0.7 * noise + 0.3 * truth).clamp(0, 1), truth


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_agrees_with_torchmetrics(seed: int) -> None:
    score, truth = random_maps(seed)
    tally = Tally.of(score, truth)
    whole, target = tally.pooled, truth.long()
    assert whole.dice == pytest.approx(float(binary_f1_score(score, target)), abs=1e-6)
    assert whole.brier == pytest.approx(float(((score - target) ** 2).mean()), abs=1e-6)
    assert whole.ece == pytest.approx(
        float(binary_calibration_error(score, target, n_bins=15)), abs=1e-5
    )
    assert whole.auroc == pytest.approx(float(binary_auroc(score, target)), abs=0.005)
    for row, (map_, lesion) in enumerate(zip(score, target, strict=True)):
        found = tally[row : row + 1]
        assert found.auroc == pytest.approx(float(binary_auroc(map_, lesion)), abs=0.005)
        expected = float(binary_average_precision(map_, lesion))
        assert found.average_precision == pytest.approx(expected, abs=0.02)
        assert found.dice == tally.dice[row]
        assert found.mean == pytest.approx(float(map_.mean()))
        assert found.prevalence == pytest.approx(float(lesion.float().mean()))
        assert found.foreground == pytest.approx(float((map_ >= 0.5).float().mean()))


def test_rows_pool_join_and_are_drawn() -> None:
    score, truth = random_maps(1)
    whole = Tally.of(score, truth)
    parts = Tally.joined([Tally.of(score[:1], truth[:1]), Tally.of(score[1:], truth[1:])])
    for figure in ("dice", "brier", "ece", "auroc", "average_precision", "mean"):
        assert getattr(parts, figure) == pytest.approx(getattr(whole, figure))
        twice = whole.drawn(np.array([[2.0, 1.0, 0.0], [1.0, 1.0, 1.0]]))
        of_all = Tally.of(score[[0, 0, 1]].flatten()[None], truth[[0, 0, 1]].flatten()[None])
        assert getattr(twice, figure)[0] == pytest.approx(getattr(of_all, figure)[0])
        assert getattr(twice, figure)[1] == pytest.approx(getattr(whole.pooled, figure)[0])


def test_bins_are_symmetric_and_hold_the_thresholds_that_count() -> None:
    assert np.allclose(EDGES, 1 - EDGES[::-1])
    assert (np.diff(EDGES) > 0).all()
    assert EDGES[BINS // 2 - 1] == 0.5
    assert np.isclose(EDGES[:, None], np.arange(1, 15) / 15, atol=1e-5).any(axis=0).all()


def test_dice_by_threshold_and_risk_by_hand() -> None:
    score = torch.tensor([[0.9, 0.6, 0.4, 0.2]])
    truth = torch.tensor([[True, False, True, False]])
    tally = Tally.of(score, truth)
    at = dict(zip([0.0, *EDGES], tally.dice_by_threshold[0], strict=True))
    assert at[0.0] == pytest.approx(4 / 6)
    assert tally.dice_by_threshold.max() == pytest.approx(4 / 5), "all but the 0.2"
    assert tally.dice[0] == at[0.5] == pytest.approx(2 / 4)
    coverage, risk = tally.risk
    assert coverage[0, -1] == 1
    assert risk[0, -1] == pytest.approx(2 / 4)
    first = np.flatnonzero(coverage[0] == 0.5)[0]
    assert risk[0, first] == 0, "0.9 and 0.2 are the surest, and right"
    share, said, lesion = tally.reliability
    assert share.sum() == pytest.approx(1)
    assert lesion[0][np.isclose(said[0], 0.6)] == [0]


def test_a_certain_pixel_falls_into_the_last_bin() -> None:
    tally = Tally.of(torch.ones(1, 4), torch.ones(1, 4, dtype=torch.bool))
    assert tally.ece == [0.0]
    assert tally.counts[0, 1, -1] == 4
    assert tally.reliability[0][0, -1] == 1


def test_sure_decoders_are_still_ranked() -> None:
    truth = torch.tensor([[True, False, False, False]])
    assert Tally.of(torch.tensor([[1e-3, 1e-4, 1e-4, 1e-5]]), truth).auroc == [1.0]


def test_pixels_of_one_kind_alone_are_not_ranked() -> None:
    score = torch.rand(2, 5)
    positive = torch.stack([torch.ones(5), torch.zeros(5)]).bool()
    tally = Tally.of(score, positive)
    assert np.isnan(tally.auroc).all()
    assert np.isnan([tally.dice[1], tally.average_precision[1]]).all()


def test_a_constant_map_ranks_by_chance() -> None:
    positive = torch.tensor([[True, False, False, True]])
    tally = Tally.of(torch.full((1, 4), 0.3), positive)
    assert tally.auroc == [0.5]
    assert tally.average_precision == [0.5]
