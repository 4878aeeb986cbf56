from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from plk_support import begun, make_evidence, make_prediction, make_task, rows_of
from torch import Tensor

from plk_pseudoseg.pseudoseg import PseudoSeg, calibrated_mean
from pseudolabel_kit.errors import ConfigError, PluginError
from pseudolabel_kit.interfaces import Evidence, LossTerm, Prediction, PseudoLabels
from pseudolabel_kit.layers import resolve
from pseudolabel_kit.plugin.build import build, read_recipe


def fused(part: PseudoSeg, prediction: Prediction, evidence: dict[str, Evidence]) -> Tensor:
    pseudo = part.fuse(prediction, evidence)
    assert pseudo.mask is not None
    return pseudo.mask


def of_logits(logits: Tensor) -> dict[str, Evidence]:
    return {"sgc": Evidence(map=torch.sigmoid(logits), family="class-map")}


# ── fusion ──────────────────────────────────────────────────────────────────────────


def test_two_pixels_by_hand() -> None:
    # Decoder 4 and 0, class map 0 and -2: the four categories' squares are 4, 4, 0, 0 and
    # 0, 0, 1, 1; their mean is 10 / 8, n = sqrt(1.25).
    decoder, sgc = torch.tensor([4.0, 0.0]), torch.tensor([0.0, -2.0])
    n = 1.25**0.5
    p = torch.tensor(
        [
            (torch.sigmoid(torch.tensor(4 / n)) + 0.5) / 2,
            (0.5 + torch.sigmoid(torch.tensor(-2 / n))) / 2,
        ]
    )
    sharp = p**2 / (p**2 + (1 - p) ** 2)  # T = 0.5
    shape = (1, 1, 1, 2)
    found = fused(
        begun(PseudoSeg()),
        Prediction(mask_logits=decoder.reshape(shape)),
        of_logits(sgc.reshape(shape)),
    )
    torch.testing.assert_close(found.flatten(), sharp, atol=1e-5, rtol=1e-5)


@given(seed=st.integers(0, 99), norm=st.sampled_from(["image-rms", "batch-rms"]))
def test_it_is_the_published_formula_on_two_categories(seed: int, norm: str) -> None:
    rng = torch.Generator().manual_seed(seed)
    decoder, sgc = 5 * torch.randn(2, 3, 1, 4, 4, generator=rng)
    lifted = [torch.cat((-z / 2, z / 2), dim=1) for z in (decoder, sgc)]
    both = torch.stack(lifted).square()
    squared = both.mean(dim=(0, 2, 3, 4)) if norm == "image-rms" else both.mean()
    n = squared.sqrt().reshape(-1, 1, 1, 1)
    p = sum(F.softmax(v / n, dim=1) for v in lifted) / 2
    sharp = p.square() / p.square().sum(dim=1, keepdim=True)
    found = calibrated_mean(decoder, sgc, norm, 0.5)  # type: ignore[arg-type]
    torch.testing.assert_close(found, sharp[:, 1:], atol=1e-5, rtol=1e-4)


def test_labels_are_soft_and_every_pixel_counts() -> None:
    pseudo = begun(PseudoSeg()).fuse(make_prediction(), make_evidence())
    assert pseudo.mask is not None
    assert pseudo.mask_weight is not None
    assert ((pseudo.mask > 0) & (pseudo.mask < 1)).all()
    assert (pseudo.mask > 0.6).any()
    assert (pseudo.mask_weight == 1).all()
    assert pseudo.mask_weight.shape == (3, 1, 32, 37)
    assert pseudo.label is None


@given(seed=st.integers(0, 99), row=st.integers(0, 2), masks=st.sampled_from([1, 2]))
def test_batchmates_never_change_a_label(seed: int, row: int, masks: int) -> None:
    part = begun(PseudoSeg(), make_task(masks=masks))
    prediction, evidence = make_prediction(masks=masks, seed=seed), make_evidence(seed=seed)
    chosen = slice(row, row + 1)
    together = fused(part, prediction, evidence)[chosen]
    alone = fused(part, prediction.rows(chosen), rows_of(evidence, chosen))
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


def test_batch_rms_is_the_one_norm_that_looks_at_batchmates() -> None:
    part, prediction, evidence = (
        begun(PseudoSeg(norm="batch-rms")),
        make_prediction(),
        make_evidence(),
    )
    alone = fused(part, prediction.rows(slice(1)), rows_of(evidence, slice(1)))
    assert not torch.allclose(fused(part, prediction, evidence)[:1], alone)


@given(factor=st.floats(0.1, 10), seed=st.integers(0, 20))
def test_scaling_both_maps_changes_nothing(factor: float, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    decoder, sgc = torch.randn(2, 2, 1, 5, 5, generator=rng)
    one, other = (calibrated_mean(k * decoder, k * sgc, "image-rms", 0.5) for k in (1, factor))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_maps_that_are_sure_or_say_nothing_stay_finite() -> None:
    for value in (0.0, 0.5, 1.0):
        evidence = {"sgc": Evidence(map=torch.full((1, 1, 4, 4), value), family="class-map")}
        for logit in (0.0, 1e4):
            prediction = Prediction(mask_logits=torch.full((1, 1, 4, 4), logit))
            assert fused(begun(PseudoSeg()), prediction, evidence).isfinite().all()


def test_only_class_maps_are_fused_and_several_are_averaged() -> None:
    part, prediction = begun(PseudoSeg()), make_prediction()
    evidence = make_evidence()
    alone = {"caam": evidence["caam"]}
    assert torch.equal(fused(part, prediction, evidence), fused(part, prediction, alone))
    twice = {"caam": evidence["caam"], "cam": evidence["caam"]}
    torch.testing.assert_close(fused(part, prediction, twice), fused(part, prediction, alone))


@pytest.mark.parametrize("evidence", [{}, {"ig": make_evidence()["ig"]}])
def test_without_a_class_map_there_is_nothing_to_fuse(evidence: dict[str, Evidence]) -> None:
    with pytest.raises(PluginError, match="expected an explainer such as sgc"):
        begun(PseudoSeg()).fuse(make_prediction(), evidence)


# ── loss ────────────────────────────────────────────────────────────────────────────


def loss(student: Prediction, pseudo: PseudoLabels, weight: float = 1.0) -> LossTerm:
    part = begun(PseudoSeg(), replace(make_task(), background_weight=weight))
    return part.loss(student, pseudo, labelled=student)["mask"]


def holed() -> PseudoLabels:
    """Soft labels of two rows of 4x4 pixels; three pixels of the first row do not count."""
    weight = torch.ones(2, 1, 4, 4)
    weight[0, 0, 0, :3] = 0
    return PseudoLabels(mask=torch.rand(2, 1, 4, 4), mask_weight=weight)


def test_the_divisor_is_the_number_of_pixels_that_count() -> None:
    torch.manual_seed(0)
    student, pseudo = Prediction(mask_logits=torch.randn(2, 1, 4, 4)), holed()
    assert student.mask_logits is not None
    assert pseudo.mask is not None
    assert pseudo.mask_weight is not None
    valid = pseudo.mask_weight > 0
    term = loss(student, pseudo)
    assert term.count.tolist() == [13, 16]
    expected = F.binary_cross_entropy_with_logits(student.mask_logits[valid], pseudo.mask[valid])
    torch.testing.assert_close(term.total.sum() / term.count.sum(), expected)


def test_ignored_pixels_teach_nothing() -> None:
    logits = torch.randn(2, 1, 4, 4, requires_grad=True)
    pseudo = holed()
    loss(Prediction(mask_logits=logits), pseudo).total.sum().backward()
    assert logits.grad is not None
    assert pseudo.mask_weight is not None
    assert torch.equal(logits.grad != 0, pseudo.mask_weight > 0)


def test_a_row_without_any_pixel_counts_nothing() -> None:
    pseudo = replace(holed(), mask_weight=torch.zeros(2, 1, 4, 4))
    term = loss(Prediction(mask_logits=torch.randn(2, 1, 4, 4)), pseudo)
    assert not term.total.any()
    assert not term.count.any()


def test_every_mask_channel_of_a_valid_pixel_counts() -> None:
    pseudo = PseudoLabels(mask=torch.rand(1, 2, 4, 4), mask_weight=torch.ones(1, 1, 4, 4))
    assert loss(Prediction(mask_logits=torch.zeros(1, 2, 4, 4)), pseudo).count.tolist() == [32]


def test_the_background_weighs_as_in_the_supervised_loss() -> None:
    pseudo = PseudoLabels(mask=torch.zeros(1, 1, 4, 4), mask_weight=torch.ones(1, 1, 4, 4))
    student = Prediction(mask_logits=torch.ones(1, 1, 4, 4))
    assert loss(student, pseudo, 0.5).total == loss(student, pseudo).total / 2


# ── references and recipes ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("reference", ["pseudoseg:temperature=0", "pseudoseg:norm=pixel"])
def test_options_out_of_range_are_refused(reference: str) -> None:
    with pytest.raises(ConfigError, match=reference.partition(":")[2]):
        build("fuser", reference)


def test_recipes_say_what_the_publication_says() -> None:
    ours, theirs = (resolve(read_recipe(name)) for name in ("pseudoseg", "pseudoseg-code"))
    assert build("fuser", ours.method.fuser) == PseudoSeg(temperature=0.5, norm="image-rms")
    assert build("fuser", theirs.method.fuser) == PseudoSeg(temperature=0.5, norm="batch-rms")
    for config in (ours, theirs):
        w = config.loss
        weights = (w.classification, w.segmentation, w.consistency, w.background_weight)
        assert weights == (1, 1, 1, 1)
        assert config.method.explainer == "sgc"
        assert config.method.perturbation == "colour-jitter,cutout"
    assert ours.train == resolve().train
    assert (theirs.train.steps, theirs.train.batch_size) == (30000, 64)
    assert (theirs.optimiser.kind, theirs.optimiser.schedule) == ("sgd", "poly")
