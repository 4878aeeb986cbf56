from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pseudolabel_kit.engine.audit import Audit, Drift, verdict
from pseudolabel_kit.interfaces import Batch, Evidence, Prediction, PseudoLabels

LESION = 2


def logits_of(probability: Tensor) -> Prediction:
    return Prediction(
        class_logits=torch.zeros(len(probability), 3), mask_logits=torch.logit(probability)
    )


def pseudo_of(mask: Tensor, weight: Tensor | None = None) -> PseudoLabels:
    weight = torch.ones_like(mask[:, :1]) if weight is None else weight
    return PseudoLabels(mask=mask, mask_weight=weight)


def truth_of(mask: Tensor, label: int = LESION, *, known: bool = True) -> Batch:
    rows = len(mask)
    return Batch(
        image=torch.zeros_like(mask),
        label=torch.full((rows,), label),
        mask=mask,
        has_label=torch.ones(rows, dtype=torch.bool),
        has_mask=torch.full((rows,), known),
    )


def one_row(*pixels: float) -> Tensor:
    return torch.tensor(pixels).reshape(1, 1, 1, -1)


def test_shares_by_hand() -> None:
    audit = Audit()
    label, decoder = one_row(0.9, 0.1, 0.6, 0.3), one_row(0.6, 0.2, 0.2, 0.2)
    audit.update(pseudo_of(label, one_row(1, 1, 1, 0)), logits_of(decoder), {})
    record = audit.compute()
    assert record["images"] == 1
    assert record["coverage"] == pytest.approx(3 / 4)
    assert record["mean_label"] == pytest.approx((0.9 + 0.1 + 0.6 + 0.2) / 4), "ignored: decoder's"
    assert record["mean_decoder"] == pytest.approx(1.2 / 4)
    assert record["foreground_share"] == pytest.approx(2 / 4)
    assert record["decoder_foreground_share"] == pytest.approx(1 / 4)
    assert record["mean_truth"] is None
    assert record["label_dice"] is None


def test_label_and_decoder_against_the_truth_by_hand() -> None:
    audit = Audit()
    label, decoder = one_row(0.9, 0.7, 0.2, 0.1), one_row(0.6, 0.4, 0.4, 0.1)
    audit.update(pseudo_of(label), logits_of(decoder), {}, truth_of(one_row(1, 0, 1, 0)))
    record = audit.compute()
    assert record["mean_truth"] == pytest.approx(0.5)
    assert record["label_dice"] == pytest.approx(2 / 4)
    assert record["decoder_dice"] == pytest.approx(2 / 3)
    assert record["label_brier"] == pytest.approx((0.01 + 0.49 + 0.64 + 0.01) / 4)
    assert record["label_ece"] == pytest.approx((0.1 + 0.7 + 0.8 + 0.1) / 4)
    # The decoder's two 0.4 fall into one bin: 0.8 promised, 1 kept.
    assert record["decoder_ece"] == pytest.approx((0.4 + 0.2 + 0.1) / 4, abs=1e-6)
    assert record["auroc/decoder"] == pytest.approx((2 + 1.5) / 4)


def test_evidence_is_ranked_against_the_truth_and_the_decoder() -> None:
    audit = Audit()
    decoder = torch.cat([one_row(0.9, 0.8, 0.1, 0.1), one_row(0.1, 0.1, 0.1, 0.1)])
    truth = torch.cat([one_row(1, 0, 1, 0), one_row(0, 0, 0, 0)])
    evidence = {
        "ig:steps=8": Evidence(
            map=torch.cat([one_row(0.9, 0.1, 0.8, 0.2), one_row(1, 0, 0, 0)]), family="attribution"
        ),
        "caam": Evidence(
            map=torch.cat([one_row(0.1, 0.9, 0.2, 0.8), one_row(1, 0, 0, 0)]), family="class-map"
        ),
    }
    audit.update(pseudo_of(decoder), logits_of(decoder), evidence, truth_of(truth))
    record = audit.compute()
    assert record["auroc/ig:steps=8"] == 1.0
    assert record["auroc/caam"] == 0.0, "a map that points away from the lesion"
    assert record["agreement/ig:steps=8"] == pytest.approx(2 / 4)
    assert record["agreement/caam"] == pytest.approx(2 / 4)


def test_lesion_free_images_are_those_of_a_mask_that_is_known_and_empty() -> None:
    audit = Audit()
    decoder = torch.full((1, 1, 1, 4), 0.5)
    empty, full = torch.zeros(1, 1, 1, 4), torch.ones(1, 1, 1, 4)
    for level, truth in (
        (0.2, truth_of(empty)),
        (0.4, truth_of(empty)),
        (0.8, truth_of(full)),
        (0.8, truth_of(empty, known=False)),
    ):
        audit.update(pseudo_of(torch.full_like(decoder, level)), logits_of(decoder), {}, truth)
    record = audit.compute()
    assert record["lesion_free_label"] == pytest.approx(0.3)
    assert record["lesion_free_decoder"] == pytest.approx(0.5)
    assert record["mean_truth"] == pytest.approx(1 / 3)


def test_rows_of_unknown_mask_are_not_judged() -> None:
    audit = Audit()
    half = torch.full((2, 1, 2, 2), 0.5)
    audit.update(pseudo_of(half), logits_of(half), {}, truth_of(torch.ones_like(half), known=False))
    record = audit.compute()
    assert record["label_brier"] is None
    assert record["auroc/decoder"] is None
    assert verdict(record).word == "unknown"


def test_batches_do_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    label, decoder, map_ = (torch.rand(6, 2, 8, 8, generator=generator) for _ in range(3))
    mask = (torch.rand(6, 2, 8, 8, generator=generator) > 0.7).float()
    records = []
    for size in (6, 4, 1):
        audit = Audit()
        for at in range(0, 6, size):
            chosen = slice(at, at + size)
            evidence = {"ig": Evidence(map=map_[chosen, :1], family="attribution")}
            audit.update(
                pseudo_of(label[chosen]),
                logits_of(decoder[chosen]),
                evidence,
                truth_of(mask[chosen]),
            )
        records.append(audit.compute())
    for record in records[1:]:
        assert record == pytest.approx(records[0])


def test_nothing_audited_is_all_none() -> None:
    record = Audit().compute()
    assert record.pop("images") == 0
    assert set(record.values()) == {None}


@pytest.mark.parametrize(
    ("label", "decoder", "word"),
    [
        ((0.60, 0.020), (0.61, 0.020), "equal"),
        ((0.50, 0.020), (0.61, 0.020), "worse"),
        ((0.70, 0.020), (0.61, 0.020), "better"),
        ((0.61, 0.250), (0.61, 0.020), "worse"),
        ((0.61, 0.015), (0.61, 0.020), "better"),
        ((0.70, 0.030), (0.61, 0.020), "worse"),
        ((0.50, 0.010), (0.61, 0.020), "worse"),
        ((0.00, 0.052), (0.016, 0.072), "unknown"),
        ((0.00, 0.250), (0.016, 0.072), "worse"),
        ((0.00, 0.052), (0.120, 0.072), "worse"),
        ((None, 0.010), (None, 0.020), "unknown"),  # no lesion to find
        ((None, 0.030), (None, 0.020), "worse"),
        ((0.60, 0.0), (0.60, 0.0), "equal"),
    ],
)
def test_the_verdict_weighs_dice_and_brier(
    label: tuple[float | None, float], decoder: tuple[float | None, float], word: str
) -> None:
    names = ("label_dice", "label_brier", "decoder_dice", "decoder_brier")
    found = verdict(dict(zip(names, (*label, *decoder), strict=True)))
    assert found.word == word
    assert "\n" not in found.reason
    assert f"Brier {label[1]:.4f} against {decoder[1]:.4f}" in found.reason


@pytest.mark.parametrize("threshold", [0.92, 0.95, 0.99])
def test_hardening_a_calibrated_decoder_is_not_worse(threshold: float) -> None:
    # A calibrated p: of 1000 pixels at p, p x 1000 are lesion.
    pixels, lesions = 1000, round(1000 * threshold)
    decoder = torch.full((1, 1, 1, pixels), threshold)
    truth = torch.zeros_like(decoder)
    truth[..., :lesions] = 1
    audit = Audit()
    audit.update(pseudo_of(torch.ones_like(decoder)), logits_of(decoder), {}, truth_of(truth))
    assert verdict(audit.compute()).word == "equal"


@pytest.mark.parametrize(
    ("mean_label", "reference", "alarm"),
    [
        (0.07, 0.07, None),
        (0.13, 0.07, None),
        (0.36, 0.07, "above"),
        (0.02, 0.07, "below"),
        (0.004, 0.0005, None),
        (0.0001, 0.004, None),
        (0.02, 0.0, "above"),
    ],
)
def test_drift_raises_an_alarm(mean_label: float, reference: float, alarm: str | None) -> None:
    text = Drift(factor=2.0).observe(mean_label, reference)
    assert (text is None) if alarm is None else (text is not None and alarm in text)


def test_a_hard_label_is_judged_by_dice_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    decoder = torch.rand(4, 1, 8, 8, generator=generator)
    truth = (torch.rand(4, 1, 8, 8, generator=generator) < decoder).float()
    found = {}
    for name, label in (("hard", (decoder >= 0.5).float()), ("soft", decoder**0.1)):
        audit = Audit()
        audit.update(pseudo_of(label), logits_of(decoder), {}, truth_of(truth))
        found[name] = audit.compute()
    assert [found[name]["soft_share"] for name in ("hard", "soft")] == [0, 1]
    hard = found["hard"]
    assert hard["label_brier"] > 1.1 * hard["decoder_brier"]
    assert hard["label_dice"] == hard["decoder_dice"]
    assert verdict(hard).word == "equal"
    assert verdict({**hard, "soft_share": 0.5}).word == "worse"


def test_class_labels_are_judged_where_classes_are_known() -> None:
    audit = Audit()
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    pseudo = PseudoLabels(
        label=torch.eye(2)[[0, 0, 1, 1]], label_weight=torch.tensor([1.0, 1.0, 1.0, 0.0])
    )
    mask = torch.zeros(4, 1, 2, 2)
    truth = replace(truth_of(mask), label=torch.tensor([0, 1, 1, 0]))
    audit.update(pseudo, Prediction(class_logits=logits), {}, truth)
    record = audit.compute()
    assert record["label_coverage"] == 3 / 4
    assert record["label_accuracy"] == pytest.approx(2 / 3)
    assert record["classifier_accuracy"] == 2 / 4
    assert record["coverage"] is None
