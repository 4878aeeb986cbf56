"""Measures of explanations: invariants, captum, and the command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from captum import metrics  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from tiny import SUPERVISED, refused, steps, tiny

from pseudolabel_kit.audit.findings import Rows
from pseudolabel_kit.cli.main import call
from pseudolabel_kit.engine.bootstrap import times
from pseudolabel_kit.engine.run import train
from pseudolabel_kit.explanations.asker import Asker
from pseudolabel_kit.explanations.columns import Columns, Gathered, groups, on_lesions
from pseudolabel_kit.explanations.fields import smooth_fields
from pseudolabel_kit.explanations.infidelity import SAMPLES, infidelity, squares
from pseudolabel_kit.explanations.located import energy_inside, pointing_game
from pseudolabel_kit.explanations.removal import area, curve, ranks
from pseudolabel_kit.explanations.sensitivity import sensitivity
from pseudolabel_kit.interfaces import Prediction, Task
from pseudolabel_kit.report.explained import CHANCE, Group

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
    ties = drawn(seed + 2, 2, 6, 6)
    assert torch.equal(ranks(maps, ties), ranks(maps.exp() * 2, ties))

    def brightness(images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(1, 2, 3))

    black = torch.zeros_like(images)
    best, flat = ranks(images[:, 0], ties), ranks(torch.ones(2, 6, 6), ties)
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


def test_infidelity_is_that_of_captum_unless_evidence_points_the_wrong_way() -> None:
    images, maps = drawn(0, 3, 1, 16, 16), drawn(1, 3, 16, 16)
    black = torch.zeros_like(images)
    places = iter(squares(16, 16, seed=5))

    def total(images: torch.Tensor) -> torch.Tensor:
        return images.sum(dim=(1, 2, 3))

    def perturb(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inside = next(places).expand_as(images)
        return inside.float(), torch.where(inside, 0.0, images)

    missed = metrics.infidelity(
        total, perturb, images, maps[:, None], n_perturb_samples=SAMPLES,
        max_examples_per_batch=3, normalize=True,
    )  # fmt: skip
    removed = torch.stack([(images[:, 0] * each).sum(dim=(1, 2)) for each in squares(16, 16, 5)])
    found = infidelity(total, maps, images, black, seed=5)
    assert torch.allclose(found, missed / (removed**2).mean(dim=0), atol=1e-4)
    assert ((found > 0.001) & (found < 1)).all()
    against = infidelity(lambda x: -total(x), maps, images, black, seed=5)
    assert against.tolist() == [1, 1, 1]


def test_squares_lie_everywhere_and_are_the_same_for_every_row() -> None:
    places = squares(16, 24, seed=0)
    assert places.sum(dim=(1, 2)).tolist() == [16] * SAMPLES
    assert places.any(dim=2).any(dim=0).sum() > 12
    assert places.any(dim=1).any(dim=0).sum() > 18
    images, maps = drawn(0, 3, 1, 16, 16), drawn(1, 3, 16, 16)

    def total(images: torch.Tensor) -> torch.Tensor:
        return images.sum(dim=(1, 2, 3))

    whole = infidelity(total, maps, images, 0 * images, seed=0)
    assert torch.allclose(whole[2:], infidelity(total, maps[2:], images[2:], 0 * images[2:], 0))


def test_sensitivity_is_relative_and_the_same_wherever_a_row_stands() -> None:
    images = 0.25 + drawn(0, 3, 1, 8, 8) / 2
    found = sensitivity(lambda x: 5 * x, images, seed=0)
    moved = found * images.flatten(1).norm(dim=1)
    uniform = 0.02 * 8 / 3**0.5  # the norm of noise of at most 0.02 on 64 pixels, in the mean
    assert ((moved > uniform) & (moved < 1.3 * uniform)).all()
    assert torch.allclose(found[2:], sensitivity(lambda x: 5 * x, images[2:], seed=0))


def test_fields_keep_neighbours_together() -> None:
    field = smooth_fields((32, 32), [3])[0]
    first = (ranks(torch.ones(1, 32, 32), field[None])[0] < 256).float()
    alike = (first[:, 1:] == first[:, :-1]).float().mean()
    assert alike > 0.85  # of pixels drawn one by one, 0.63
    assert not torch.equal(field, smooth_fields((32, 32), [4])[0])


class Square(torch.nn.Module):
    """Two classes that hold lesions; the second's logit is 0.5 on black and grows with a square."""

    def classify(self, images: torch.Tensor) -> torch.Tensor:
        logit = images[:, 0, 2:4, 2:4].sum(dim=(1, 2))
        return torch.stack([3 + 0 * logit, 0 * logit, logit - 2], dim=1)


def asked(baseline: Any, maps: torch.Tensor, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """What an asker finds of maps on images whose square is white and all else black."""
    task = Task(channels=1, size=(8, 8), classes=("h", "a", "b"), lesion_classes=(1, 2))
    predictor: Any = SimpleNamespace(
        model=Square(),
        method=SimpleNamespace(backbone=SimpleNamespace()),
        config=SimpleNamespace(train=SimpleNamespace(seed=0)),
        task=task,
    )
    images = torch.zeros(len(maps), 1, 8, 8)
    images[:, :, 2:4, 2:4] = 1
    prediction = Prediction(class_logits=Square().classify(images))
    asker = Asker(predictor=predictor, steps=16, baseline=baseline)
    return dict(asker.faithful(images, prediction, maps, names, 1))


def probability(logit: float) -> float:
    """Of class b, whose logit is so much, beside 3 and 0."""
    each = np.exp([3, 0, logit])
    return float(each[2] / each.sum())


def test_areas_and_infidelity_by_number() -> None:
    true = torch.zeros(2, 8, 8)
    true[0, 2:4, 2:4] = 1  # all four at once: the first of sixteen portions is the square
    true[1] = 1 - true[0]  # ... and the last
    found = asked("zero", true, ["x", "y"])
    full, none = probability(2), probability(-2)
    soon = (full + 31 * none) / 32  # by trapezoids
    late = (31 * full + none) / 32
    assert torch.allclose(found["deletion"], torch.tensor([soon, late]), rtol=1e-4)
    assert torch.allclose(found["insertion"], torch.tensor([late, soon]), rtol=1e-4)
    assert found["curve/deletion"][0, [0, 1, 16]].tolist() == pytest.approx([full, none, none])
    assert found["curve/insertion"][0, [0, 1, 16]].tolist() == pytest.approx([none, full, full])
    assert found["infidelity"][0] == pytest.approx(0, abs=1e-6)
    # 2x2 squares: the other map holds 4 less what is lost, so its share is known by number
    lost = torch.stack([each[2:4, 2:4].sum() for each in squares(8, 8, seed_of())]).double()
    other = 4 - lost
    left = 1 - (other @ lost) ** 2 / (other @ other) / (lost @ lost)
    assert found["infidelity"][1] == pytest.approx(left.item(), abs=1e-5)
    default = asked(None, true, ["x", "y"])
    assert default["curve/deletion"][0, -1] == pytest.approx(probability(4 / 16 - 2))
    blurred = asked("blur", true, ["x", "y"])  # 8 cells of 8 pixels: the image itself
    assert torch.allclose(default["curve/insertion"], blurred["curve/insertion"])
    flat = asked("zero", torch.ones(2, 8, 8), ["x", "y"])["curve/deletion"]
    alone = asked("zero", torch.ones(1, 8, 8), ["y"])["curve/deletion"]
    assert torch.allclose(flat[1], alone[0])


def seed_of() -> int:
    """The seed of a run whose own is 0."""
    predictor: Any = SimpleNamespace(config=SimpleNamespace(train=SimpleNamespace(seed=0)))
    return Asker(predictor=predictor, steps=1).seed


def table(rows: int, **own: Sequence[float]) -> tuple[Columns, Rows]:
    """An explainer's values and, as chance, 0.5 everywhere; labels 0 and 1 by turns."""
    flat = [[0.9, 0.5, 0.1]] * rows
    seen = Gathered()
    for name, shift in (("cam", 0.0), (CHANCE, 1.0)):
        for measure, values in own.items():
            given = torch.tensor(values) * (1 - shift) + 0.5 * shift
            seen.add(name, [(measure, given)])
        seen.add(name, [("curve/deletion", torch.tensor(flat))])
    return seen.columns, Rows(
        names=tuple(map(str, range(rows))),
        patients=np.zeros(rows, dtype=np.int64),
        labels=np.arange(rows) % 2,
        masked=np.ones(rows, dtype=np.bool_),
        free=np.arange(rows) % 2 == 0,
    )


def cells(columns: Columns, rows: Rows) -> dict[str, Group]:
    found = groups(columns, rows, ("healthy", "ill"), times(rows.patients, 50, seed=0))
    return {group.name: group for group in found}


def test_signs_and_groups_by_number() -> None:
    low = [0.1 + 0.1 * (i % 2) for i in range(24)]
    columns, rows = table(24, deletion=low, insertion=low)
    found = cells(columns, rows)
    figures = found["all"].figures["cam"]
    assert (figures["deletion"].sign, figures["insertion"].sign) == (1, -1)
    means = {name: group.figures["cam"]["deletion"].value for name, group in found.items()}
    assert means == pytest.approx({"all": 0.15, "healthy": 0.1, "ill": 0.2})
    assert found["ill"].ends["deletion"] == pytest.approx((0.9, 0.1))
    counted = cells(on_lesions(columns, rows), rows)
    assert counted["all"].figures["cam"]["deletion"].value == pytest.approx(0.2)
    assert "deletion" not in counted["healthy"].measures


def test_nothing_is_called_better_on_few_images_or_patients() -> None:
    columns, rows = table(9, deletion=[0.1] * 9)
    figure = cells(columns, rows)["all"].figures["cam"]["deletion"]
    assert figure.interval == pytest.approx((0.1, 0.1))
    assert figure.sign == 0
    columns, rows = table(12, deletion=[0.1] * 12)
    assert cells(columns, rows)["all"].figures["cam"]["deletion"].sign == 1
    rows.patients[:] = 1 + np.arange(12) % 4
    assert cells(columns, rows)["all"].figures["cam"]["deletion"].sign == 0


def test_an_area_is_not_defined_where_the_class_stays_sure() -> None:
    columns, rows = table(12, deletion=[0.1] * 12)
    columns[CHANCE]["curve/deletion"][:, -1] = 0.85
    group = cells(columns, rows)["all"]
    assert "deletion" not in group.figures["cam"]
    assert group.measures == ["deletion"]
    assert group.told("deletion").endswith("not defined, as it falls by less than 0.1")


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
    assert set(figures["cam"]) >= {"infidelity", "sensitivity", "agreement"}
    assert set(found["groups"][0]["ends"]) == {"deletion", "insertion"}
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
