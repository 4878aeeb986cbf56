from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudolabel_kit.config import OptimiserConfig
from pseudolabel_kit.engine.schedule import (
    Clock,
    epoch_length,
    grown,
    is_criterion,
    rate,
    reached,
)
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Ramp

CLOCK = Clock(total=200, epoch=10)


@pytest.mark.parametrize(
    ("moment", "steps"),
    [
        ("0%", 0),
        ("20%", 40),
        ("12.5%", 25),
        ("100%", 200),
        ("1epoch", 10),
        ("3epochs", 30),
        ("0.5epochs", 5),
        ("1step", 1),
        ("500steps", 500),
    ],
)
def test_a_moment_is_a_number_of_steps(moment: str, steps: int) -> None:
    assert CLOCK.steps(moment) == steps


@pytest.mark.parametrize(
    "moment", ["", "20", "20 %", "-1steps", "20percent", "1epochss", "%", "a%"]
)
def test_what_is_no_moment_is_refused_with_the_three_ways_to_write_one(moment: str) -> None:
    with pytest.raises(ConfigError, match="expected 20%, 5epochs or 100steps"):
        CLOCK.steps(moment)


def test_a_ramp_is_zero_then_linear_then_full() -> None:
    ramp = Ramp(weight=2.0, start="10%", length="4steps")
    found = [CLOCK.weight(ramp, step) for step in (0, 19, 20, 21, 22, 23, 24, 199)]
    assert found == [0, 0, 0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


def test_a_ramp_without_length_is_a_switch() -> None:
    ramp = Ramp(weight=3.0, start="5steps")
    assert [CLOCK.weight(ramp, step) for step in (4, 5)] == [0.0, 3.0]


@given(weight=st.floats(0, 100), since=st.integers(-5, 50), length=st.integers(0, 40))
def test_a_ramp_never_falls_and_never_passes_its_weight(
    weight: float, since: int, length: int
) -> None:
    now, later = grown(weight, since, length), grown(weight, since + 1, length)
    assert 0 <= now <= later <= weight
    assert (now > 0) == (since >= 0 and weight > 0) or weight / max(1, length) == 0


def test_the_cosine_falls_from_one_to_its_floor() -> None:
    config = OptimiserConfig(schedule="cosine", floor=0.1)
    rates = [rate(config, CLOCK, step) for step in range(201)]
    assert rates[0] == 1
    assert rates[100] == pytest.approx(0.55)
    assert rates[200] == pytest.approx(0.1)
    assert rates == sorted(rates, reverse=True)
    assert rates[50] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)


def test_steps_fall_by_a_factor() -> None:
    config = OptimiserConfig(schedule="step", step_every="2epochs", step_factor=0.1)
    found = [rate(config, CLOCK, step) for step in (0, 19, 20, 39, 40)]
    assert found == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_a_step_shorter_than_one_step_falls_every_step() -> None:
    config = OptimiserConfig(schedule="step", step_every="0%", step_factor=0.5)
    assert [rate(config, CLOCK, step) for step in (0, 1, 2)] == [1, 0.5, 0.25]


def test_the_paper_s_rate_is_1e_minus_18_at_the_end() -> None:
    """Section IV-B: 1e-4, a tenth every 20 epochs, 300 epochs."""
    config = OptimiserConfig(lr=1e-4, schedule="step", step_every="20epochs", step_factor=0.1)
    clock = Clock(total=3000, epoch=10)
    assert config.lr * rate(config, clock, 2999) == pytest.approx(1e-18)


def test_constant_is_constant() -> None:
    config = OptimiserConfig(schedule="constant")
    assert {rate(config, CLOCK, step) for step in (0, 77, 199)} == {1.0}


@pytest.mark.parametrize(
    ("measures", "answer"),
    [
        ({"dice": 0.5}, True),
        ({"dice": 0.6}, True),
        ({"dice": 0.49}, False),
        ({"dice": None}, False),
        ({}, False),
    ],
)
def test_a_criterion_is_reached_by_its_measure(
    measures: dict[str, float | None], answer: bool
) -> None:
    assert reached("val.dice>=0.5", measures) is answer


def test_a_moment_is_never_reached_by_a_measure() -> None:
    assert not is_criterion("20%")
    assert not reached("20%", {"dice": 1.0})
    assert is_criterion("val.dice>=0.5")


@pytest.mark.parametrize(
    ("rows", "steps"),
    [((24, 240, 8, 8), 30), ((24, 0, 8, 8), 3), ((25, 10, 8, 8), 4), ((1, 0, 8, 8), 1)],
)
def test_an_epoch_passes_once_over_the_longer_stream(
    rows: tuple[int, int, int, int], steps: int
) -> None:
    assert epoch_length(*rows) == steps


def test_the_polynomial_rate_falls_to_nothing() -> None:
    clock = Clock(total=10, epoch=5)
    config = OptimiserConfig(schedule="poly")
    assert [rate(config, clock, step) for step in (0, 5)] == [1.0, 0.5**0.9]
    assert 0 < rate(config, clock, 9) < 0.13
