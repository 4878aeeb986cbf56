"""STAPLE: simultaneous truth and performance level estimation (Warfield, Zou & Wells, 2004).

IEEE Transactions on Medical Imaging 23(7), 903-921. Decoder and explainers are raters j of the
pixels i of an image. Each has a sensitivity p_j and a specificity q_j, which nobody knows, as
nobody knows the truth; expectation-maximisation estimates both from where the raters agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pseudolabel_kit.interfaces import Evidence, Fuser, Prediction, PseudoLabels
from pydantic import Field
from torch import Tensor

Rate = Annotated[float, Field(gt=0, lt=1)]
CERTAIN = 1e-4  # no rate comes closer to 0 or 1: nobody is never wrong


@dataclass(frozen=True, kw_only=True)
class Staple(Fuser):
    """The posterior of the lesion at every pixel, given what all raters say of the image.

    Votes are soft: a map value d counts as d votes for lesion and 1 - d against, and a faint map
    is one of low sensitivity. Each image and mask channel is estimated by itself. Maps of
    uncertainty do not vote; without other evidence the label is the decoder's probability.

    Attributes:
        iterations: of expectation-maximisation; five come close to where it settles.
        decoder: sensitivity and specificity of the decoder as first guessed.
        explainers: the same of each explainer.
        tether: how many pixels the guess counts for, over those of the image.
        prior: how likely a lesion is before anybody votes: at each pixel what the decoder
            says, its mean over the image, or a number.
        weight: every pixel counts 1, or |2W - 1|, how far its posterior W is from a coin's.
    """

    iterations: Annotated[int, Field(ge=1)] = 5
    decoder: tuple[Rate, Rate] = (0.95, 0.95)
    explainers: tuple[Rate, Rate] = (0.7, 0.7)
    tether: Annotated[float, Field(ge=0)] = 0.001
    prior: Literal["pixel", "image"] | Rate = "pixel"
    weight: Literal["one", "decided"] = "one"

    def fuse(self, prediction: Prediction, evidence: Mapping[str, Evidence]) -> PseudoLabels:
        """Masks (B,K,H,W) in [0, 1]; computed in float32."""
        decoder = torch.sigmoid(prediction.need_masks(self.origin).float())
        raters = [e for e in evidence.values() if e.family != "uncertainty"]
        maps = [rater.map.float().expand_as(decoder) for rater in raters]
        mask = self._posterior(decoder, maps) if maps else decoder
        decided = (2 * mask - 1).abs().mean(dim=1, keepdim=True)
        weight = decided if self.weight == "decided" else torch.ones_like(decided)
        return PseudoLabels(mask=mask, mask_weight=weight)

    def _posterior(self, decoder: Tensor, maps: list[Tensor]) -> Tensor:
        guess = decoder.new_tensor([self.decoder, *[self.explainers] * len(maps)])
        votes = torch.stack([decoder, *maps])
        return staple(votes, guess, self._prior(decoder), self.iterations, self.tether)[0]

    def _prior(self, decoder: Tensor) -> Tensor:
        if self.prior == "pixel":
            return decoder
        mean = decoder.mean(dim=(2, 3), keepdim=True)
        return mean if self.prior == "image" else torch.full_like(mean, self.prior)


def staple(
    votes: Tensor, guess: Tensor, prior: Tensor, iterations: int, tether: float
) -> tuple[Tensor, Tensor]:
    """Expectation-maximisation for each image and mask channel by itself.

    Args:
        votes: (R,B,K,H,W) in [0, 1], of R raters.
        guess: (R,2) in (0, 1), sensitivity and specificity to begin with.
        prior: (B,K,1,1) or (B,K,H,W) in [0, 1].
        iterations: how many, at least 1.
        tether: what the guess weighs, in pixels over those of the image.

    Returns:
        The posterior W (B,K,H,W), and p and q (2,R,B,K,1,1) that it was computed with.
    """
    odds = torch.logit(prior, CERTAIN)
    first = guess.T[..., None, None, None, None].clamp(CERTAIN, 1 - CERTAIN)
    held = tether * votes[0, 0, 0].numel()
    rates = first
    posterior = expectation(votes, rates, odds)
    for _ in range(iterations):
        rates = maximisation(votes, posterior, first, held)
        posterior = expectation(votes, rates, odds)
    return posterior, rates


def expectation(votes: Tensor, rates: Tensor, odds: Tensor) -> Tensor:
    """W: the prior's odds times p^d (1-p)^(1-d) / ((1-q)^d q^(1-d)) of every rater, as logs.

    A rater with p + q below 1 is worse than chance. Read backwards it would still have a say,
    and raters could change sides; it is not heard instead.
    """
    p, q = rates
    with_a_vote = torch.log(p) - torch.log1p(-q)
    without = torch.log1p(-p) - torch.log(q)
    heard = (p + q > 1).to(votes.dtype)
    gains = heard * (votes * with_a_vote + (1 - votes) * without)
    return torch.sigmoid(odds + gains.sum(dim=0))


def maximisation(votes: Tensor, posterior: Tensor, first: Tensor, held: float) -> Tensor:
    """p: the share of W that voted for lesion; q: of 1 - W, against; `held` pixels voted `first`.

    What they sum over is (H,W); the result is (2,R,B,K,1,1).
    """
    truth = torch.stack([posterior, 1 - posterior])[:, None]
    agreed = (truth * torch.stack([votes, 1 - votes])).sum(dim=(-2, -1), keepdim=True)
    shown = truth.sum(dim=(-2, -1), keepdim=True)
    rates = (agreed + held * first) / (shown + held).clamp_min(CERTAIN)
    return rates.clamp(CERTAIN, 1 - CERTAIN)
