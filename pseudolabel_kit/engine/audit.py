"""Judging pseudo labels: how much they teach, how far they left the decoder, who is right.

The record of an audit, all figures over pixels in [0, 1], None where not defined:

    images                  how many were audited
    coverage                share of pixels whose weight is above 0
    mean_label              mean target: the soft share of foreground
    mean_decoder            mean of the decoder's own probability
    mean_truth              share of lesion, over the images whose mask is known
    foreground_share        share of pixels that the target calls lesion, at 0.5
    soft_share              share of the taught pixels whose target is neither 0 nor 1
    label_coverage          share of images whose class label teaches, where classes are taught
    label_accuracy          how many of those are right; classifier_accuracy of all images
    decoder_foreground_share
    lesion_free_label       mean target on images that hold no lesion
    lesion_free_decoder
    label_dice, label_brier, label_ece          the target against the truth
    decoder_dice, decoder_brier, decoder_ece    the decoder's own probability, likewise
    auroc/decoder           the decoder ranks lesion pixels above the others ...
    auroc/<reference>       ... and so does the evidence: mean over images with lesion
    agreement/<reference>   the evidence ranks as the decoder does, at 0.5: mean over images

Where the weight of a pixel is 0 nothing is taught, and the decoder's own answer stands in for
the target: label and decoder are then compared on the same pixels, and differ by what fusing
changed alone. An AUROC under 0.5 means a map that points away from the lesion. Several mask
channels are counted together.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from pseudolabel_kit.engine.pixels import Array, Tally, lesion_free
from pseudolabel_kit.interfaces import Batch, Evidence, Prediction, PseudoLabels

Record: TypeAlias = dict[str, float | None]

FIGURES = (
    "coverage",
    "mean_label",
    "mean_decoder",
    "mean_truth",
    "foreground_share",
    "decoder_foreground_share",
    "lesion_free_label",
    "lesion_free_decoder",
)
DICE_MARGIN = 0.02
BRIER_MARGIN = 0.10
LEAST_DICE = 0.10
DRIFT_FLOOR = 0.005


class Audit:
    """Streams over batches; keeps sums alone."""

    def __init__(self) -> None:
        self._images = 0
        self._means: dict[str, tuple[float, int]] = {}
        self._judged: dict[str, Tally] = {}

    def update(
        self,
        pseudo: PseudoLabels,
        prediction: Prediction,
        evidence: Mapping[str, Evidence],
        truth: Batch | None = None,
    ) -> None:
        """Add a batch.

        Args:
            pseudo: what is taught.
            prediction: the teacher's, corrected for the background weight.
            evidence: by the explainer's reference.
            truth: what is known of the same rows.
        """
        self._images += len(truth.image) if truth is not None else _rows(prediction)
        if prediction.class_logits is not None:
            self._classes(pseudo, prediction.class_logits.detach().cpu(), truth)
        if prediction.mask_logits is not None:
            self._masks(pseudo, prediction.mask_logits.detach().cpu().float(), evidence, truth)

    def _classes(self, pseudo: PseudoLabels, logits: Tensor, truth: Batch | None) -> None:
        known = torch.zeros(len(logits), dtype=torch.bool)
        correct = known
        if truth is not None:
            known, correct = truth.has_label.cpu(), truth.label.cpu()
            self._average("classifier_accuracy", (logits.argmax(dim=1) == correct)[known])
        if pseudo.label is not None and pseudo.label_weight is not None:
            taught = pseudo.label_weight.detach().cpu() > 0
            right = pseudo.label.detach().cpu().argmax(dim=1) == correct
            self._average("label_coverage", taught)
            self._average("label_accuracy", right[taught & known])

    def _masks(
        self,
        pseudo: PseudoLabels,
        logits: Tensor,
        evidence: Mapping[str, Evidence],
        truth: Batch | None,
    ) -> None:
        decoder = label = torch.sigmoid(logits)
        taught = torch.zeros_like(decoder, dtype=torch.bool)
        if pseudo.mask is not None and pseudo.mask_weight is not None:
            taught = (pseudo.mask_weight.detach().cpu() > 0).expand_as(decoder)
            label = torch.where(taught, pseudo.mask.detach().cpu().float(), decoder)
        maps = {name: e.map.detach().cpu().float() for name, e in evidence.items()}

        self._average("coverage", taught)
        self._average("soft_share", ((label > 0) & (label < 1))[taught])
        self._average("mean_label", label)
        self._average("mean_decoder", decoder)
        self._average("foreground_share", label >= 0.5)
        self._average("decoder_foreground_share", decoder >= 0.5)
        for name, map_ in maps.items():
            self._rank(f"agreement/{name}", Tally.of(map_.expand_as(decoder), decoder >= 0.5).auroc)
        if truth is not None:
            self._judge({"label": label, "decoder": decoder}, maps, truth)

    def _judge(
        self, judged: Mapping[str, Tensor], ranked: Mapping[str, Tensor], truth: Batch
    ) -> None:
        has_mask = truth.has_mask.cpu()
        lesion = (truth.mask.cpu() > 0.5) & has_mask[:, None, None, None]
        free = lesion_free(truth).cpu()

        self._average("mean_truth", lesion[has_mask])
        tallies = {
            name: Tally.of(map_.expand_as(lesion), lesion)
            for name, map_ in {**judged, **ranked}.items()
        }
        for name, map_ in judged.items():
            self._average(f"lesion_free_{name}", map_[free])
            if has_mask.any():
                seen = [self._judged[name]] if name in self._judged else []
                found = tallies[name][has_mask.numpy()]
                self._judged[name] = Tally.joined([*seen, found]).pooled
        for name in ("decoder", *ranked):
            self._rank(f"auroc/{name}", tallies[name].auroc)

    def _rank(self, name: str, auroc: Array) -> None:
        self._average(name, torch.from_numpy(auroc[np.isfinite(auroc)]))

    def _average(self, name: str, values: Tensor) -> None:
        total, count = self._means.get(name, (0.0, 0))
        total += float(values.sum(dtype=torch.float64))
        self._means[name] = (total, count + values.numel())

    def compute(self) -> Record:
        """The record of everything seen so far."""
        known = {name: total / count for name, (total, count) in self._means.items() if count}
        record: Record = {"images": self._images}
        record |= {name: known.get(name) for name in (*FIGURES, *self._means)}
        for name in ("label", "decoder"):
            judged = self._judged.get(name)
            for figure in ("dice", "brier", "ece"):
                value = float("nan") if judged is None else float(getattr(judged, figure)[0])
                record[f"{name}_{figure}"] = value if math.isfinite(value) else None
        return record


def _rows(prediction: Prediction) -> int:
    heads = (prediction.class_logits, prediction.mask_logits)
    return next(len(head) for head in heads if head is not None)


Word: TypeAlias = Literal["worse", "equal", "better", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether fusing made the labels worse than the decoder's own, and why one says so."""

    word: Word
    reason: str


def verdict(record: Mapping[str, float | None]) -> Verdict:
    """Compare the fused label with the decoder's own probability, on the same pixels.

    A label without a soft pixel is judged by Dice alone: to harden is the method's choice.
    Worse if Dice falls by more than 0.02 or Brier grows by more than 10%, whatever the other
    does: Dice is what the student's mask will be, Brier what cross-entropy learns from. Both
    labels come from one network on the same images, so that their difference is far steadier
    than Dice between seeds (about 0.03), and 0.02 is no accident. 10% lets a threshold pass:
    hardening a calibrated p costs 1/p - 1 of its Brier score, under 10% for p above 0.91.

    Unknown where no mask is known, where no image holds a lesion, or where neither label finds
    lesions yet (Dice under 0.1): a label that marks nothing has a good Brier score, and is not
    better for it.
    """
    label_brier, decoder_brier = record.get("label_brier"), record.get("decoder_brier")
    if label_brier is None or decoder_brier is None:
        return Verdict(word="unknown", reason="no mask is known, the fused label cannot be judged")
    change = label_brier - decoder_brier
    hard = record.get("soft_share") == 0
    gains = [0.0 if hard or abs(change) <= BRIER_MARGIN * decoder_brier else -change]
    figures = f"Brier {label_brier:.4f} against {decoder_brier:.4f}"
    label_dice, decoder_dice = record.get("label_dice"), record.get("decoder_dice")
    early = True
    if label_dice is not None and decoder_dice is not None:
        early = max(label_dice, decoder_dice) < LEAST_DICE
        gain = label_dice - decoder_dice
        gains.append(0.0 if early or abs(gain) <= DICE_MARGIN else gain)
        figures = f"Dice {label_dice:.3f} against {decoder_dice:.3f}, {figures}"
    word = _weigh(gains, early=early)
    return Verdict(word=word, reason=f"{_SAID[word]}: {figures}")


def _weigh(gains: Collection[float], *, early: bool) -> Word:
    if min(gains) < 0:
        return "worse"
    if early:
        return "unknown"
    return "better" if max(gains) > 0 else "equal"


_SAID: Mapping[Word, str] = {
    "worse": "the fused label is worse than the decoder's own",
    "equal": "the fused label is as good as the decoder's own",
    "better": "the fused label is better than the decoder's own",
    "unknown": "too early to judge, the held-out images hold no lesion that either label finds",
}


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The alarm for a mean label that runs away.

    Attributes:
        factor: above 1; how many times the reference, or how small a part of it, is too far.
        floor: shares below it count as it, so that a few pixels raise no alarm.
    """

    factor: float
    floor: float = DRIFT_FLOOR

    def observe(self, mean_label: float, reference: float) -> str | None:
        """A line that says how far the mean label went, or None while it is near."""
        ratio = max(mean_label, self.floor) / max(reference, self.floor)
        if 1 / self.factor <= ratio <= self.factor:
            return None
        where = "above" if ratio > 1 else "below"
        return (
            f"the mean label {mean_label:.4f} is more than {self.factor:g} times {where} "
            f"the decoder's own {reference:.4f}: pseudo labels are drifting"
        )
