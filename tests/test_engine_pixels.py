from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_calibration_error,
    binary_f1_score,
)

from pseudolabel_kit.engine.pixels import Agreement, image_auroc


def random_maps(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.rand(3, 1, 16, 16, generator=generator) < 0.2).long()
    noise = torch.rand(3, 1, 16, 16, generator=generator)
    return (0.7 * noise + 0.3 * truth).clamp(0, 1), truth


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_agrees_with_torchmetrics(seed: int) -> None:
    probability, truth = random_maps(seed)
    found = Agreement.of(probability, truth)
    assert found.dice == pytest.approx(float(binary_f1_score(probability, truth)), abs=1e-6)
    assert found.brier == pytest.approx(float(((probability - truth) ** 2).mean()), abs=1e-6)
    assert found.ece == pytest.approx(
        float(binary_calibration_error(probability, truth, n_bins=15)), abs=1e-5
    )
    for ranks, score, positive in zip(
        image_auroc(probability, truth.bool()), probability, truth, strict=True
    ):
        assert float(ranks) == pytest.approx(float(binary_auroc(score, positive)), abs=0.005)


def test_sums_add_up() -> None:
    probability, truth = random_maps(1)
    whole = Agreement.of(probability, truth)
    parts = Agreement.of(probability[:1], truth[:1]) + Agreement.of(probability[1:], truth[1:])
    assert (parts.dice, parts.brier, parts.ece) == pytest.approx(
        (whole.dice, whole.brier, whole.ece)
    )


def test_a_certain_pixel_falls_into_the_last_bin() -> None:
    ones = torch.ones(4)
    assert Agreement.of(ones, ones).ece == 0.0
    assert Agreement.of(ones, ones).bins[0, -1] == 4


def test_auroc_of_one_kind_alone_is_undefined() -> None:
    score = torch.rand(2, 5)
    positive = torch.stack([torch.ones(5), torch.zeros(5)]).bool()
    assert image_auroc(score, positive).isnan().all()


def test_a_constant_map_ranks_by_chance() -> None:
    positive = torch.tensor([[True, False, False, True]])
    assert image_auroc(torch.full((1, 4), 0.3), positive).tolist() == [0.5]
