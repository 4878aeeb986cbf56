from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pseudolabel_kit.engine.average import Average


def model_of(value: float) -> nn.Module:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    model.register_buffer("count", torch.tensor(value))
    return model


def test_the_average_follows_the_closed_form() -> None:
    decay, average = 0.5, Average(model_of(0.0), 0.5)
    expected = 0.0
    for step in range(20):
        average.update(model_of(float(step)), step)
        kept = min(decay, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * step
    assert_close(average.model.get_parameter("weight").item(), expected, rtol=1e-5, atol=0)


def test_the_first_weights_are_soon_forgotten() -> None:
    average = Average(model_of(1.0), 0.999)
    for step in range(10):
        average.update(model_of(0.0), step)
    assert average.model.get_parameter("weight").item() < 1e-3


@pytest.mark.parametrize("step", [0, 100])
def test_without_decay_it_is_the_model(step: int) -> None:
    average = Average(model_of(1.0), 0.0)
    average.update(model_of(3.0), step)
    assert average.model.get_parameter("weight").item() == 3


def test_buffers_are_copied_and_the_copy_does_not_train() -> None:
    model = model_of(1.0).train()
    average = Average(model, 0.9)
    assert average.model is not model
    assert not average.model.training
    assert not average.model.get_parameter("weight").requires_grad
    average.update(model_of(5.0), 100)
    assert average.model.get_buffer("count").item() == 5
    assert model.get_parameter("weight").item() == 1
    assert model.get_parameter("weight").requires_grad
