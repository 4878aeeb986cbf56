from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plk_support import begun, make_evidence, make_prediction, make_task
from scipy.optimize import minimize
from tiny import assembled, records, steps

from plk_calibrated.logistic import best_cut, fit
from plk_calibrated.posterior import Posterior
from pseudolabel_kit.data.store import Subset
from pseudolabel_kit.engine import oddities
from pseudolabel_kit.engine.pixels import Tally
from pseudolabel_kit.engine.signals import Stop
from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.interfaces import Batch, Evidence, Prediction

CALIBRATED = (
    {"method": {"fuser": "posterior", "explainer": "margin-cam"}},
    {"data": {"labelled": 0.4}},
)


def pixels(seed: int, *weights: float, shift: float = -1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(4000, len(weights), generator=generator, dtype=torch.double)
    p = torch.sigmoid(x @ torch.tensor(weights, dtype=torch.double) + shift)
    return x, (torch.rand(4000, generator=generator) < p).double()


def test_it_finds_the_weights_that_made_the_truth() -> None:
    weights, shift = fit(*pixels(0, 1.5, 0.7, 0.0), ridge=0.0)
    assert weights.tolist() == pytest.approx([1.5, 0.7, 0.0], abs=0.15)
    assert float(shift) == pytest.approx(-1, abs=0.15)


@pytest.mark.parametrize("ridge", [0.0, 1e-6, 1e-3])
@pytest.mark.parametrize("seed", range(8))
def test_evidence_that_says_the_same_twice_is_no_trouble(seed: int, ridge: float) -> None:
    x, y = pixels(seed, 1.0, -0.5)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    doubled = torch.cat([x, x + 1e-4 * noise, -x + 1e-4 * noise], dim=1)
    weights, shift = fit(doubled, y, ridge=ridge)
    assert (weights >= 0).all()
    assert torch.isfinite(shift)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    true=st.lists(st.floats(-2, 2), min_size=1, max_size=4),
    ridge=st.sampled_from([0.0, 1e-3, 0.1]),
)
def test_no_other_weights_above_zero_are_likelier(
    seed: int, true: list[float], ridge: float
) -> None:
    """Against a general optimiser with bounds."""
    x, y = pixels(seed, *true)
    a, t = x.numpy(), y.numpy()
    start = np.eye(1, len(true))[0]

    def loss(found: np.ndarray) -> float:
        z = a @ found[:-1] + found[-1]
        mean = float(np.mean(np.logaddexp(0, z) - t * z))
        return mean + ridge / 2 * float(((found[:-1] - start) ** 2).sum())

    weights, shift = fit(x, y, ridge=ridge)
    assert (weights >= 0).all()
    bounds = [(0, None)] * len(true) + [(None, None)]
    best = minimize(loss, np.append(start, 0.0), bounds=bounds, method="L-BFGS-B")
    ours = loss(np.append(weights.numpy(), float(shift)))
    assert ours <= best.fun + 1e-7


def test_separable_pixels_have_finite_weights() -> None:
    x = torch.tensor([[-1.0], [1.0]])
    weights, shift = fit(x, torch.tensor([0.0, 1.0]), ridge=1e-3)
    assert torch.isfinite(torch.cat([weights, shift[None]])).all()


def test_the_best_cut_by_hand() -> None:
    logits = torch.tensor([3.0, 2.0, 1.0, 0.0, -1.0])
    truth = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0])
    assert float(best_cut(logits, truth)) == 1, "Dice 2/3, 2/4 and 4/5"


# ── the fuser ───────────────────────────────────────────────────────────────────────


def held(bias: float, knows: float, seed: int = 0) -> tuple[Prediction, dict[str, Evidence], Batch]:
    """Rows whose decoder is `bias` too sure, and evidence that knows so much of the rest."""
    generator = torch.Generator().manual_seed(seed)
    shape = (4, 1, 32, 32)
    decoder, rest = (torch.randn(shape, generator=generator) for _ in range(2))
    truth = torch.rand(shape, generator=generator) < torch.sigmoid(decoder + knows * rest - 1)
    batch = Batch(
        image=torch.zeros(shape),
        label=torch.zeros(4, dtype=torch.int64),
        mask=truth.float(),
        has_label=torch.ones(4, dtype=torch.bool),
        has_mask=torch.ones(4, dtype=torch.bool),
    )
    evidence = {"e": Evidence(map=torch.sigmoid(rest), family="class-map")}
    return Prediction(mask_logits=decoder + bias), evidence, batch


def ece(fuser: Posterior, shown: tuple[Prediction, dict[str, Evidence], Batch]) -> float:
    prediction, evidence, batch = shown
    mask = fuser.fuse(prediction, evidence).mask
    assert mask is not None
    return float(Tally.of(mask, batch.mask > 0.5).pooled.ece[0])


def test_until_it_is_calibrated_the_label_is_the_decoder() -> None:
    fuser, prediction = begun(Posterior()), make_prediction()
    label = fuser.fuse(prediction, make_evidence()).mask
    assert prediction.mask_logits is not None
    torch.testing.assert_close(label, prediction.mask_logits.sigmoid())


@pytest.mark.parametrize("bias", [-3.0, 0.0, 3.0])
def test_labels_are_calibrated_on_other_rows(bias: float) -> None:
    fuser, other = begun(Posterior()), held(bias, 1.0, seed=9)
    before = ece(fuser, other)
    fuser.calibrate([held(bias, 1.0, seed) for seed in range(2)])
    assert ece(fuser, other) < 0.03
    assert ece(fuser, other) < before


def test_evidence_counts_by_what_it_knows() -> None:
    weights = []
    for knows in (-2.0, 0.0, 0.5, 2.0):
        fuser = begun(Posterior())
        fuser.calibrate([held(0.0, knows, seed) for seed in range(2)])
        assert fuser.state is not None
        weights.append(float(fuser.state.weight("e")))  # type: ignore[operator]
    assert weights[0] == 0, "evidence that points away is not turned round"
    assert weights[1] == pytest.approx(0, abs=0.1)
    assert weights[2] == pytest.approx(0.5, abs=0.15)
    assert weights[3] == pytest.approx(2, abs=0.4)


def test_a_ridge_draws_the_scale_to_1_and_the_weights_to_0() -> None:
    """A thousandfold one is a penalty of half the squared distance itself."""
    scales, weights = [], []
    for ridge in (0.0, 1000.0, 1e6):
        fuser = begun(Posterior(ridge=ridge))
        prediction, evidence, batch = held(0.0, 2.0)
        assert prediction.mask_logits is not None
        doubled = replace(prediction, mask_logits=2 * prediction.mask_logits)
        fuser.calibrate([(doubled, evidence, batch)])
        state: Any = fuser.state
        scales.append(float(state.weight("")))
        weights.append(float(state.weight("e")))
    assert scales[0] == pytest.approx(0.5, abs=0.1)
    assert scales[0] < scales[1] < scales[2] == pytest.approx(1, abs=1e-3)
    assert weights[0] > weights[1] + 0.5 > weights[2] + 0.5
    assert weights[2] == pytest.approx(0, abs=1e-3)


def test_evidence_that_is_missing_moves_nothing() -> None:
    fuser, (prediction, evidence, batch) = begun(Posterior()), held(0.0, 1.0)
    low = {"e": Evidence(map=evidence["e"].map * 0.05, family="class-map")}
    fuser.calibrate([(prediction, low, batch)])
    assert ece(fuser, (prediction, low, batch)) < 0.02
    assert ece(fuser, (prediction, {}, batch)) < 0.06, "far from 0.6, where the shift stays behind"
    alone = fuser.fuse(prediction, {}).mask
    other = fuser.fuse(prediction, {"f": evidence["e"]}).mask
    torch.testing.assert_close(alone, other)
    assert not torch.equal(alone, fuser.fuse(prediction, evidence).mask)  # type: ignore[arg-type]


def classed(seed: int = 0) -> tuple[Prediction, dict[str, Evidence], Batch]:
    """Rows of which the class alone tells whether what the decoder marks is a lesion."""
    prediction, _, batch = held(0.0, 0.0, seed)
    ill = torch.tensor([True, False, True, False])
    logits = torch.where(ill[:, None], torch.tensor([-2.0, 0, 2]), torch.tensor([2.0, 0, -2]))
    mask = batch.mask * ill[:, None, None, None]
    return replace(prediction, class_logits=logits), {}, replace(batch, mask=mask)


def test_classes_count_by_what_they_know() -> None:
    fuser, blind = begun(Posterior()), begun(Posterior(classes=False))
    for each in (fuser, blind):
        each.calibrate([classed(seed) for seed in range(2)])
    shown = classed(seed=9)
    label, without = (each.fuse(shown[0], {}).mask for each in (fuser, blind))
    assert label is not None
    assert without is not None
    truth = shown[2].mask
    assert (label - truth).square().mean() < 0.8 * (without - truth).square().mean()
    assert label[1].mean() < 0.1 < label[0].mean()
    assert without[0].mean() == pytest.approx(float(without[1].mean()), abs=0.02)


def test_classes_that_say_nothing_are_not_asked() -> None:
    all_ill = replace(make_task(), lesion_classes=())
    fuser, (prediction, _, batch) = begun(Posterior(), all_ill), classed()
    fuser.calibrate([(prediction, {}, batch)])
    unclassed = replace(prediction, class_logits=None)
    label, same = fuser.fuse(prediction, {}).mask, fuser.fuse(unclassed, {}).mask
    torch.testing.assert_close(label, same)


def test_the_point_of_best_dice_becomes_a_half() -> None:
    shown = held(0.0, 0.0)
    dices = []
    for point in ("calibrated", "dice"):
        fuser = begun(Posterior(point=point))  # type: ignore[arg-type]
        fuser.calibrate([shown])
        mask = fuser.fuse(shown[0], shown[1]).mask
        assert mask is not None
        tally = Tally.of(mask, shown[2].mask > 0.5).pooled
        dices.append(float(tally.dice[0]))
        best = float(tally.dice_by_threshold.max())
    assert dices[1] > dices[0] + 0.05
    assert dices[1] == pytest.approx(best, abs=0.01)


def test_rows_without_a_mask_or_a_lesion_calibrate_nothing() -> None:
    prediction, evidence, batch = held(2.0, 1.0)
    for changed in (
        Batch(**{**vars(batch), "has_mask": torch.zeros(4, dtype=torch.bool)}),
        Batch(**{**vars(batch), "mask": torch.zeros_like(batch.mask)}),
    ):
        fuser = begun(Posterior())
        fuser.calibrate([(prediction, evidence, changed)])
        label = fuser.fuse(prediction, evidence).mask
        torch.testing.assert_close(label, prediction.mask_logits.sigmoid())  # type: ignore[union-attr]


def test_evidence_that_some_rows_lack_is_left_out() -> None:
    """As where an explainer failed on a batch and was spared."""
    fuser, (prediction, evidence, batch) = begun(Posterior()), held(0.0, 2.0)
    fuser.calibrate([(prediction, evidence, batch), (prediction, {}, batch)])
    assert fuser.state is not None
    assert float(fuser.state.weight("e")) == 0  # type: ignore[operator]
    assert float(fuser.state.weight("")) > 0  # type: ignore[operator]


def test_too_many_explainers_are_refused() -> None:
    many = {f"e{i}": make_evidence()["ig"] for i in range(17)}
    with pytest.raises(ConfigError, match="17 explainers; expected at most 16"):
        begun(Posterior()).fuse(make_prediction(), many)


def test_a_run_calibrates_it_each_epoch_on_rows_that_it_never_trains_on(tmp_path: Path) -> None:
    many = {"data": {"labelled": 0.8}, "audit": {"holdout": 0.5}}
    loop = assembled(tmp_path / "run", *CALIBRATED, many, steps(4))
    asked: list[tuple[str, set[int]]] = []
    ask = loop.ask

    def noted(watched: Callable[..., Any], rows: Subset) -> Any:
        asked.append((watched.__name__, set(rows.indices)))
        return ask(watched, rows)

    object.__setattr__(loop, "ask", noted)
    loop.run(Stop())
    assert loop.streams.held is not None
    assert loop.streams.halves is not None
    held = set(loop.streams.held.indices)
    assert not held & set(loop.feed.labelled.indices)
    fitted, judged = (set(half.indices) for half in loop.streams.halves)
    assert fitted | judged == held
    assert not fitted & judged
    began = asked.index(("calibrate", fitted))
    assert asked[began + 1] == ("audit", judged), "what judges was not fitted to"
    assert asked[began + 2] == ("calibrate", held)
    later = [rows for what, rows in asked[began + 3 :] if what == "calibrate"]
    assert later
    assert all(rows == held for rows in later)
    fuser = loop.learner.method.fuser
    assert isinstance(fuser, Posterior)
    assert fuser.state is not None
    assert float(fuser.state.weight("")) != 1, "it learned something"  # type: ignore[operator]


def test_without_a_lesion_for_both_halves_it_is_judged_by_what_it_was_fitted_to(
    tmp_path: Path,
) -> None:
    loop = assembled(tmp_path / "run", *CALIBRATED, steps(4))
    assert loop.streams.halves is None
    loop.run(Stop())
    (said,) = [r["text"] for r in records(loop.folder.path, "event") if "pre-flight" in r["text"]]
    assert "(on the rows that calibrated it)" in said


def test_a_run_that_holds_nothing_out_says_so(tmp_path: Path) -> None:
    method = {"method": {"fuser": "posterior", "explainer": "none"}}
    loop = assembled(tmp_path / "run", method, {"audit": {"holdout": 0.0}})
    assert [each for each in oddities.before(loop) if "'posterior'" in each and "none is" in each]
