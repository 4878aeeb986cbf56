from __future__ import annotations

import pytest
import torch
from plk_support import Toy, begun, make_batch

from plk_calibrated.integrated_gradients import IntegratedGradients


@pytest.mark.parametrize("rows", [1, 3])
def test_internal_batch_bounds_the_rows_of_a_pass_and_changes_nothing(rows: int) -> None:
    images, seen = make_batch(rows).image, []

    def classify(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return Toy().classify(x)

    label = torch.zeros(rows, dtype=torch.int64)
    small, large = (
        begun(IntegratedGradients(steps=6, internal_batch=size)).attribute(
            classify, images, torch.zeros_like(images), label
        )
        for size in (4, 64)
    )
    torch.testing.assert_close(small, large)
    assert max(seen[:-1]) <= max(4, rows)
    assert seen[-1] == 6 * rows
