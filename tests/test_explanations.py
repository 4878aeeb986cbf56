"""Measures of explanations: invariants, captum, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import SUPERVISED, refused, steps, tiny

from pseudolabel_kit.cli.main import call
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.explanations.infidelity import infidelity
from pseudolabel_kit.explanations.located import energy_inside, pointing_game
from pseudolabel_kit.explanations.removal import area, curve, ranks
from pseudolabel_kit.explanations.sensitivity import RADIUS, sensitivity

seeds = st.integers(0, 2**31)


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@given(seeds)
def test_a_perfect_map_hits_and_a_flat_one_gets_what_chance_gives(seed: int) -> None:
    lesion = drawn(seed, 3, 8, 8) > 0.8
    lesion[:, 0, 0] = True
    assert pointing_game(lesion.float(), lesion, 0).tolist() == [1, 1, 1]
    assert energy_inside(lesion.float(), lesion).tolist() == [1, 1, 1]
    share = lesion.double().mean(dim=(1, 2))
    for flat in (torch.ones(3, 8, 8), torch.zeros(3, 8, 8)):
        assert torch.allclose(energy_inside(flat, lesion), share)
        assert torch.allclose(pointing_game(flat, lesion, 0), share)
    assert energy_inside(flat, lesion & False).isnan().all()


@given(seeds)
def test_deletion_hangs_on_the_order_alone(seed: int) -> None:
    maps, images = drawn(seed, 2, 6, 6), drawn(seed + 1, 2, 1, 6, 6)
    assert torch.equal(ranks(maps, 0), ranks(maps.exp() * 2, 0))

    def brightness(images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(1, 2, 3))

    black = torch.zeros_like(images)
    best, flat = ranks(images[:, 0], 0), ranks(torch.ones(2, 6, 6), 0)
    ordered, chance = (area(curve(brightness, images, black, r, 5)) for r in (best, flat))
    assert (ordered <= chance + 1e-6).all()
    found = curve(brightness, images, black, best, 5)
    assert torch.allclose(found[:, 0], brightness(images))
    assert found[:, -1].tolist() == [0, 0]


def test_evidence_that_foretells_everything_is_faithful() -> None:
    images = drawn(0, 4, 1, 16, 16)

    def total(images: torch.Tensor) -> torch.Tensor:
        return images.sum(dim=(1, 2, 3))

    black = torch.zeros_like(images)
    true = infidelity(total, 7 * images[:, 0], images, black, seed=0)
    assert torch.allclose(true, torch.zeros(4), atol=1e-3)
    assert torch.allclose(infidelity(total, 0 * images[:, 0], images, black, 0), torch.ones(4))
    assert infidelity(lambda x: 0 * total(x), images[:, 0], images, black, 0).isnan().all()


def test_sensitivity_is_relative() -> None:
    images = 0.25 + drawn(0, 3, 1, 8, 8) / 2
    found = sensitivity(lambda x: 5 * x, images, seed=0)
    bound = RADIUS * 8 / images.flatten(1).norm(dim=1)
    assert ((found > 0) & (found <= bound)).all()


def test_the_command_writes_figures_and_a_section(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    train(tiny(SUPERVISED, steps(2)), out=run)
    assert "explanations" not in (run / "report.html").read_text().lower()
    line = ["evaluate", str(run), "--explanations", "--steps", "2", "--rows", "5"]
    assert "name some with --explainer" in refused_after_measures(line, capsys)
    assert call([*line, "--explainer", "input-x-gradient,cam"]) == 0
    assert "val: 5 of 6 images" in capsys.readouterr().out
    found = json.loads((run / "explanations-val.json").read_text())
    figures = found["groups"][0]["figures"]
    assert list(figures) == ["input-x-gradient", "cam", "chance"]
    assert set(figures["cam"]) >= {"deletion", "insertion", "sensitivity", "agreement"}
    assert len(found["curves"]["cam"]["deletion"]) == 3
    page = (run / "report.html").read_text()
    assert 'id="explanations"' in page
    assert "pixels removed, %" in page


def test_options_without_the_measures_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(["evaluate", str(tmp_path), "--rows", "3"], capsys)
    assert told == "--rows: expected together with --explanations"


def refused_after_measures(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert call(line) == 2
    return capsys.readouterr().err
