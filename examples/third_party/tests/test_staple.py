"""What the contract asks of every fuser and recipe, and STAPLE worked out another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pseudolabel_kit import build
from pseudolabel_kit.interfaces import Evidence, Prediction
from pseudolabel_kit.testing import FuserConformance, RecipeConformance
from torch import Tensor

from plk_staple.staple import Staple, staple

Array = NDArray[np.float64]


class TestStaple(FuserConformance):
    """The kit's tests of a fuser, by its name: the package must be installed."""

    reference = "staple"


class TestStapleWithOtherOptions(FuserConformance):
    """The same with nothing that holds the estimates, and with weights."""

    reference = "staple:iterations=20:tether=0:prior=0.1:weight=decided"


class TestStapleOfTheImage(FuserConformance):
    """The publication's prior, one for an image."""

    reference = "staple:prior=image"


class TestRecipe(RecipeConformance):
    """The kit's tests of a recipe."""

    reference = "staple"


def by_hand(
    votes: Array, guess: Array, prior: float, iterations: int, tether: float
) -> tuple[Array, Array]:
    """The publication's products of probabilities, pixel by pixel, in float64; votes (R,n)."""
    p, q = guess.T.copy()
    pixels = votes.shape[1]

    def posterior() -> Array:
        answer = np.empty(pixels)
        for i, d in enumerate(votes.T):
            alpha, beta = prior, 1 - prior
            for j in range(len(votes)):
                if p[j] + q[j] > 1:
                    alpha *= p[j] ** d[j] * (1 - p[j]) ** (1 - d[j])
                    beta *= (1 - q[j]) ** d[j] * q[j] ** (1 - d[j])
            answer[i] = alpha / (alpha + beta)
        return answer

    w = posterior()
    for _ in range(iterations):
        for j, d in enumerate(votes):
            held = tether * pixels
            p[j] = ((w * d).sum() + held * guess[j, 0]) / (w.sum() + held)
            q[j] = (((1 - w) * (1 - d)).sum() + held * guess[j, 1]) / ((1 - w).sum() + held)
        w = posterior()
    return w, np.stack([p, q])


def square(side: int = 12) -> Array:
    """A lesion in a corner, as 0 and 1."""
    truth = np.zeros((side, side))
    truth[:5, :6] = 1
    return truth


def rated(votes: Array, **options: Any) -> tuple[Tensor, Tensor]:
    """One image of one mask channel; votes (R,H,W)."""
    raters = torch.tensor(votes, dtype=torch.float32)[:, None, None]
    guess = torch.tensor([[0.95, 0.95], *[[0.7, 0.7]] * (len(votes) - 1)])
    chosen: dict[str, Any] = {
        "prior": torch.full((1, 1, 1, 1), 0.2),
        "iterations": 5,
        "tether": 0.1,
    }
    posterior, rates = staple(raters, guess, **(chosen | options))
    return posterior[0, 0], rates[:, :, 0, 0, 0, 0]


@pytest.mark.parametrize(("iterations", "tether"), [(1, 0.0), (5, 0.1), (20, 0.0)])
@pytest.mark.parametrize("hard", [True, False])
def test_it_is_the_publication_in_float64(iterations: int, tether: float, hard: bool) -> None:
    rng = np.random.default_rng(0)
    votes = np.stack([0.6 * square() + 0.4 * rng.random((12, 12)) for _ in range(3)])
    votes = (votes > 0.3).astype(float) if hard else votes
    guess = np.array([[0.95, 0.95], [0.7, 0.7], [0.7, 0.7]])
    expected, rates = by_hand(votes.reshape(3, -1), guess, 0.2, iterations, tether)
    found, found_rates = rated(votes, iterations=iterations, tether=tether)
    np.testing.assert_allclose(found.flatten(), expected, atol=2e-4)
    np.testing.assert_allclose(found_rates, rates.clip(1e-4, 1 - 1e-4), atol=2e-4)


def test_one_step_by_hand() -> None:
    """Two pixels, one rater with p = q = 0.8 and prior 1/2, so W = 0.8 and 0.2."""
    votes = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 1, 2)
    half, guess = torch.full((1, 1, 1, 1), 0.5), torch.tensor([[0.8, 0.8]])
    posterior, rates = staple(votes, guess, half, iterations=1, tether=0.0)
    torch.testing.assert_close(rates.flatten(), torch.tensor([0.8, 0.8]))
    torch.testing.assert_close(posterior.flatten(), torch.tensor([0.8, 0.2]))


@given(seed=st.integers(0, 10_000), noise=st.floats(0.0, 0.25), against=st.integers(1, 2))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_who_contradicts_the_rest_loses_trust(seed: int, noise: float, against: int) -> None:
    """The decoder and one explainer agree, another says the opposite: it ends unheard."""
    rng = np.random.default_rng(seed)
    honest = [abs(square() - noise * rng.random((12, 12))) for _ in range(2)]
    votes = [*honest[:against], 1 - honest[1], *honest[against:]]
    posterior, (p, q) = rated(np.stack(votes))
    trust = p + q  # 1 = chance
    assert trust[against] < 0.9
    assert trust[3 - against] > 1.4
    truth = torch.tensor(square() > 0)
    assert posterior[truth].min() > 0.5 > posterior[~truth].max()


def test_explainers_that_share_a_mistake_outvote_the_decoder_unless_tethered() -> None:
    """The limit that the README tells of."""
    wrong = np.roll(square(), 6, axis=(0, 1))
    votes = np.stack([0.1 + 0.8 * square(), wrong, wrong])
    half = torch.full((1, 1, 1, 1), 0.5)
    loose, _ = rated(votes, tether=0.0, iterations=20, prior=half)
    tethered, _ = rated(votes, tether=5.0, iterations=20, prior=half)
    lesion = square() > 0
    assert loose[lesion].mean() < 0.1
    assert tethered[lesion].mean() > 0.5


def test_without_evidence_the_label_is_the_decoders() -> None:
    logits = torch.randn(2, 2, 4, 5)
    unsure = {"ua": Evidence(map=torch.rand(2, 1, 4, 5), family="uncertainty")}
    for evidence in ({}, unsure):
        pseudo = Staple().fuse(Prediction(mask_logits=logits), evidence)
        torch.testing.assert_close(pseudo.mask, torch.sigmoid(logits))


def test_a_pixel_weighs_what_its_posterior_decides() -> None:
    logits = torch.tensor([0.0, 100.0, -100.0]).reshape(1, 1, 1, 3)
    pseudo = Staple(weight="decided").fuse(Prediction(mask_logits=logits), {})
    torch.testing.assert_close(pseudo.mask_weight, torch.tensor([[[[0.0, 1.0, 1.0]]]]))


def test_the_prior_is_the_decoders_at_a_pixel_or_its_mean_or_a_number() -> None:
    logits = torch.full((1, 1, 4, 4), -2.0)
    logits[..., 0, 0] = 1.0
    evidence = {"ig": Evidence(map=torch.rand(1, 1, 4, 4), family="attribution")}
    pixel, image, low, high = (
        build("fuser", f"staple:prior={prior}").fuse(Prediction(mask_logits=logits), evidence).mask
        for prior in ("pixel", "image", "0.01", "0.5")
    )
    assert pixel is not None
    assert image is not None
    assert low is not None
    assert high is not None
    assert pixel[..., 0, 0] > image[..., 0, 0]
    assert (low < image).all()
    assert (image < high).all()
