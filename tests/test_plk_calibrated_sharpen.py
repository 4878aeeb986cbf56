from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plk_support import begun, make_evidence, make_prediction, make_task, rows_of

from plk_calibrated.sharpen import Norm, Sharpen, sharpen
from pseudolabel_kit.interfaces import Evidence, Prediction

PAPER = (0.3, 0.4, 0.4)
INDEPENDENT: tuple[Norm, ...] = ("image-rms", "pixel", "paper")


def even(value: float, rows: int = 1) -> dict[str, Evidence]:
    return {"ig": Evidence(map=torch.full((rows, 1, 32, 37), value), family="attribution")}


@given(
    norm=st.sampled_from(INDEPENDENT),
    gate=st.sampled_from(["none", "probability", "predicted"]),
    masks=st.sampled_from([1, 2]),
    seed=st.integers(0, 99),
    row=st.integers(0, 2),
)
def test_batchmates_never_change_a_label(
    norm: Norm, gate: str, masks: int, seed: int, row: int
) -> None:
    part = begun(Sharpen(norm=norm, gate=gate), make_task(masks=masks))  # type: ignore[arg-type]
    prediction, evidence = make_prediction(masks=masks, seed=seed), make_evidence(seed=seed)
    chosen = slice(row, row + 1)
    together = part.fuse(prediction, evidence).mask[chosen]
    alone = part.fuse(prediction.rows(chosen), rows_of(evidence, chosen)).mask
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


def test_batch_rms_is_the_one_norm_that_looks_at_batchmates() -> None:
    part, prediction, evidence = (
        begun(Sharpen(norm="batch-rms")),
        make_prediction(),
        make_evidence(),
    )
    alone = part.fuse(prediction.rows(slice(1)), rows_of(evidence, slice(1))).mask
    assert not torch.allclose(part.fuse(prediction, evidence).mask[:1], alone)


@pytest.mark.parametrize("ratios", [(0.3, 0.4, 0.4), (1.0, 1.0, 0.0)])
def test_without_evidence_the_label_is_the_decoders_probability(
    ratios: tuple[float, float, float],
) -> None:
    prediction = make_prediction()
    fused = begun(Sharpen(ratios=ratios)).fuse(prediction, {})
    assert torch.equal(fused.mask, torch.sigmoid(prediction.mask_logits))
    assert fused.mask_weight.shape == (3, 1, 32, 37)
    assert (fused.mask_weight == 1).all()
    assert fused.label is None
    assert fused.label_weight is None


def test_evidence_without_weight_is_as_if_it_were_not_there() -> None:
    prediction, evidence = make_prediction(), make_evidence()
    part = begun(Sharpen(ratios=(0, 0, 1)))
    assert torch.equal(part.fuse(prediction, evidence).mask, torch.sigmoid(prediction.mask_logits))
    some = begun(Sharpen(ratios=(0, 0.4, 0.4))).fuse(prediction, evidence).mask
    fewer = begun(Sharpen(ratios=PAPER)).fuse(prediction, {"ig": evidence["ig"]}).mask
    torch.testing.assert_close(some, fewer)


def test_only_the_proportions_of_the_ratios_matter() -> None:
    prediction, evidence = make_prediction(), make_evidence()
    one, ten = (
        begun(Sharpen(ratios=tuple(k * r for r in (0.3, 0.4, 0.4)))).fuse(prediction, evidence)  # type: ignore[arg-type]
        for k in (1, 10)
    )
    torch.testing.assert_close(one.mask, ten.mask)


def test_explainers_of_one_family_share_its_ratio() -> None:
    """Two that contradict each other cancel out."""
    part = begun(Sharpen(norm="pixel", gate="none", ratios=PAPER))
    flat = Prediction(class_logits=torch.zeros(1, 3), mask_logits=torch.zeros(1, 1, 32, 37))
    low, high = even(0.0)["ig"], even(1.0)["ig"]
    class_map = replace(high, family="class-map")
    assert part.fuse(flat, {"a": low, "b": high}).mask.mean().item() == pytest.approx(0.5)
    votes = part._evidence_votes(flat, {"a": low, "b": high, "c": class_map})
    assert [vote.weight for vote in votes] == [0.2, 0.2, 0.3]


def test_without_the_decoder_every_channel_gets_the_evidence() -> None:
    part = begun(Sharpen(ratios=(1, 1, 0)), make_task(masks=2))
    mask = part.fuse(make_prediction(masks=2), make_evidence()).mask
    assert mask.shape == (3, 2, 32, 37)
    assert torch.equal(mask[:, 0], mask[:, 1])


def test_every_mask_channel_is_a_problem_of_its_own() -> None:
    task, evidence = make_task(masks=2), make_evidence()
    part, both = begun(Sharpen(), task), make_prediction(masks=2)
    fused = part.fuse(both, evidence).mask
    for channel in (slice(0, 1), slice(1, 2)):
        single = replace(both, mask_logits=both.mask_logits[:, channel])
        torch.testing.assert_close(fused[:, channel], part.fuse(single, evidence).mask)


def test_evidence_of_every_channel_is_used_channel_by_channel() -> None:
    part, prediction = begun(Sharpen(), make_task(masks=2)), make_prediction(masks=2)
    shared = make_evidence()["ig"].map
    wide = {"ig": Evidence(map=shared.expand(-1, 2, -1, -1), family="attribution")}
    narrow = {"ig": Evidence(map=shared, family="attribution")}
    torch.testing.assert_close(part.fuse(prediction, wide).mask, part.fuse(prediction, narrow).mask)


def test_the_gate_silences_evidence_on_images_without_a_lesion() -> None:
    class_logits = torch.tensor([[9.0, 0.0, -9.0], [0.0, 0.0, 9.0], [0.5, 0.5, 0.6]])
    prediction = Prediction(class_logits=class_logits, mask_logits=torch.zeros(3, 1, 32, 37))
    means = {
        gate: begun(Sharpen(gate=gate, ratios=PAPER))
        .fuse(prediction, even(1.0, 3))
        .mask.mean(dim=(1, 2, 3))
        for gate in ("none", "probability", "predicted")
    }
    healthy, sick, unsure = range(3)
    assert means["none"].std() < 1e-6
    for gate in ("probability", "predicted"):
        assert means[gate][healthy] < 0.5 < means["none"][healthy]
        assert means[gate][sick].item() == pytest.approx(means["none"][sick].item(), abs=1e-3)
    assert means["probability"][unsure] < means["predicted"][unsure] - 0.1


def test_under_the_pixel_norm_a_sure_decoder_alone_ends_at_0_71() -> None:
    prediction = Prediction(
        class_logits=torch.zeros(1, 3), mask_logits=torch.full((1, 1, 32, 37), 1e3)
    )
    evidence = even(0.5) | {"caam": Evidence(map=even(0.5)["ig"].map, family="class-map")}
    mask = begun(Sharpen(norm="pixel", gate="none", ratios=PAPER)).fuse(prediction, evidence).mask
    assert mask.max().item() == pytest.approx(0.711, abs=1e-3)


@given(q=st.floats(0, 1), temperature=st.floats(0.05, 2))
def test_sharpening_keeps_one_half_the_ends_and_the_side(q: float, temperature: float) -> None:
    out = sharpen(torch.tensor([q, 0.5, 0.0, 1.0]), temperature).tolist()
    assert out[1:] == [0.5, 0, 1]
    assert (out[0] - 0.5) * (q - 0.5) >= 0
    if temperature <= 1:
        assert abs(out[0] - 0.5) >= abs(q - 0.5) - 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("norm", [*INDEPENDENT, "batch-rms"])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype, norm: Norm) -> None:
    prediction = make_prediction()
    half = replace(
        prediction,
        class_logits=prediction.class_logits.to(dtype),
        mask_logits=(100 * prediction.mask_logits).to(dtype),
    )
    part = begun(Sharpen(norm=norm))
    full = replace(
        half, class_logits=half.class_logits.float(), mask_logits=half.mask_logits.float()
    )
    mask = part.fuse(half, make_evidence()).mask
    assert mask.dtype == torch.float32
    assert torch.equal(mask, part.fuse(full, make_evidence()).mask)
    assert mask.isfinite().all()


def test_extreme_logits_give_labels_without_nan() -> None:
    logits = torch.tensor([-1e30, -1e4, 0.0, 1e4]).reshape(1, 1, 2, 2)
    prediction = Prediction(class_logits=torch.zeros(1, 3), mask_logits=logits)
    evidence = {"ig": Evidence(map=torch.zeros(1, 1, 2, 2), family="attribution")}
    for norm in ("pixel", "image-rms"):
        mask = begun(Sharpen(norm=norm)).fuse(prediction, evidence).mask
        assert not mask.isnan().any()


def test_ratios_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one above"):
        Sharpen(ratios=(0, 0, 0))
