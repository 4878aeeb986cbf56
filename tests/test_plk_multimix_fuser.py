from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from plk_support import begun, make_prediction
from torch import Tensor
from torch.distributions import Bernoulli, kl_divergence

from plk_multimix.fuser import MultiMixFuser, stream_divergence
from plk_multimix.network import MultiMix
from pseudolabel_kit.errors import ConfigError, PluginError
from pseudolabel_kit.interfaces import LossTerm, Prediction
from pseudolabel_kit.layers import resolve
from pseudolabel_kit.plugin.build import build, read_recipe


def classes(*rows: list[float]) -> Prediction:
    """Rows whose classes have these probabilities."""
    return Prediction(class_logits=torch.tensor(rows).log())


def masks(*rows: float) -> Tensor:
    """Mask logits (B,1,2,2), each row of one lesion probability."""
    return torch.tensor(rows).logit().reshape(-1, 1, 1, 1).repeat(1, 1, 2, 2)


def value(term: LossTerm) -> Tensor:
    return term.total.sum() / term.count.sum()


# ── labels ──────────────────────────────────────────────────────────────────────────


def test_hard_labels_where_the_class_is_sure() -> None:
    pseudo = begun(MultiMixFuser()).fuse(classes([0.1, 0.8, 0.1], [0.2, 0.2, 0.6]), {})
    assert pseudo.label is not None
    assert pseudo.label_weight is not None
    assert pseudo.label.tolist() == [[0, 1, 0], [0, 0, 1]]
    assert pseudo.label_weight.tolist() == [1, 0]
    assert pseudo.mask is pseudo.mask_weight is None


@pytest.mark.parametrize(("threshold", "weight"), [(0.79, 1), (0.81, 0)])
def test_the_threshold_decides(threshold: float, weight: int) -> None:
    pseudo = begun(MultiMixFuser(threshold=threshold)).fuse(classes([0.1, 0.8, 0.1]), {})
    assert pseudo.label_weight is not None
    assert pseudo.label_weight.item() == weight


@given(seed=st.integers(0, 99), row=st.integers(0, 2))
def test_batchmates_never_change_a_label(seed: int, row: int) -> None:
    part, prediction = begun(MultiMixFuser()), make_prediction(seed=seed)
    together, alone = part.fuse(prediction, {}), part.fuse(prediction.rows(slice(row, row + 1)), {})
    assert together.label is not None
    assert alone.label is not None
    assert together.label_weight is not None
    assert alone.label_weight is not None
    assert torch.equal(together.label[row], alone.label[0])
    assert torch.equal(together.label_weight[row], alone.label_weight[0])


def test_the_label_term_by_hand() -> None:
    part = begun(MultiMixFuser(kl_weight=0.0))
    pseudo = part.fuse(classes([0.1, 0.8, 0.1], [0.2, 0.2, 0.6]), {})
    student = classes([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])
    terms = part.loss(student, pseudo, labelled=student)
    assert set(terms) == {"label"}
    # The sure row alone, over both rows, a quarter of it.
    torch.testing.assert_close(value(terms["label"]), 0.25 * torch.log(torch.tensor(2.0)) / 2)


# ── divergence ──────────────────────────────────────────────────────────────────────


def test_divergence_by_hand() -> None:
    # 0.5 ln(0.5 / 0.25) + 0.5 ln(0.5 / 0.75)
    expected = 0.5 * torch.log(torch.tensor(2.0)) + 0.5 * torch.log(torch.tensor(2 / 3))
    found = stream_divergence(masks(0.5), masks(0.25), "two-category")
    torch.testing.assert_close(found, expected.expand(1, 1, 2, 2))


@given(seed=st.integers(0, 99), channels=st.integers(1, 3))
def test_divergence_is_that_of_bernoulli_variables(seed: int, channels: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    one, other = 3 * torch.randn(2, 2, channels, 4, 4, generator=rng)
    expected = kl_divergence(Bernoulli(logits=one), Bernoulli(logits=other))
    torch.testing.assert_close(
        stream_divergence(one, other, "two-category"), expected, atol=1e-5, rtol=1e-4
    )
    assert (expected.sum() > 0).item()


def test_equal_masks_do_not_diverge() -> None:
    one = masks(0.3, 0.9)
    assert not stream_divergence(one, one.clone(), "two-category").any()


def test_extreme_masks_stay_finite() -> None:
    sure = torch.full((1, 1, 2, 2), 1e4)
    assert stream_divergence(sure, -sure, "two-category").isfinite().all()


@given(seed=st.integers(0, 20))
def test_a_softmax_over_one_channel_is_always_zero(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    one, other = (3 * torch.randn(2, 3, 1, 4, 4, generator=rng)).requires_grad_()
    found = stream_divergence(one, other, "softmax")
    assert found.shape == (3, 1, 4, 4)
    assert not found.any()
    assert not torch.autograd.grad(found.sum(), other)[0].any()


def test_a_softmax_over_several_channels_is_not() -> None:
    rng = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 2, 3, 4, 4, generator=rng)
    p, q = (F.softmax(z, dim=1) for z in (one, other))
    expected = (p * (p / q).log()).sum(dim=1, keepdim=True)
    torch.testing.assert_close(stream_divergence(one, other, "softmax"), expected)


@pytest.mark.parametrize("more", ["labelled", "unlabelled"])
def test_the_shorter_stream_starts_anew(more: str) -> None:
    long, short = masks(0.1, 0.2, 0.3), masks(0.5, 0.6)
    again = torch.cat((short, short[:1]))
    one, other = (long, again) if more == "labelled" else (again, long)
    given_ = (long, short) if more == "labelled" else (short, long)
    found, expected = (stream_divergence(*p, "two-category") for p in (given_, (one, other)))
    assert len(found) == 3
    assert torch.equal(found, expected)


def test_both_streams_learn_from_it() -> None:
    one, other = masks(0.5).requires_grad_(), masks(0.25).requires_grad_()
    stream_divergence(one, other, "two-category").sum().backward()
    assert one.grad is not None
    assert other.grad is not None
    assert one.grad.all()
    assert other.grad.all()


def test_the_divergence_joins_with_its_weight() -> None:
    student, labelled = make_prediction(seed=1), make_prediction(seed=2)
    assert student.mask_logits is not None
    assert labelled.mask_logits is not None
    part = begun(MultiMixFuser())
    pseudo = part.fuse(student, {})
    terms = part.loss(student, pseudo, labelled)
    plain = stream_divergence(labelled.mask_logits, student.mask_logits, "two-category")
    torch.testing.assert_close(value(terms["kl"]), 0.01 * plain.mean())
    assert value(terms["kl"]) > 0
    code = begun(MultiMixFuser(kl="softmax")).loss(student, pseudo, labelled)
    assert value(code["kl"]) == 0


def test_a_backbone_without_masks_is_for_those_who_switch_the_divergence_off() -> None:
    student = classes([0.1, 0.8, 0.1])
    part = begun(MultiMixFuser())
    with pytest.raises(PluginError, match="multimix: this backbone does not segment"):
        part.loss(student, part.fuse(student, {}), labelled=student)


# ── references and recipes ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("option", ["threshold=1.5", "label_weight=-1", "kl_weight=-1", "kl=soft"])
def test_options_out_of_range_are_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        build("fuser", f"multimix:{option}")


def test_recipes_say_what_the_publication_says() -> None:
    ours, theirs = (resolve(read_recipe(name)) for name in ("multimix", "multimix-code"))
    assert build("backbone", ours.method.backbone) == MultiMix(width=0.5)
    assert build("backbone", theirs.method.backbone) == MultiMix(width=1.0, dropout=0.25)
    published = {"threshold": 0.7, "label_weight": 0.25, "kl_weight": 0.01}
    assert build("fuser", ours.method.fuser) == MultiMixFuser(**published, kl="two-category")
    assert build("fuser", theirs.method.fuser) == MultiMixFuser(**published, kl="softmax")
    for config in (ours, theirs):
        w = config.loss
        weights = (w.classification, w.segmentation, w.consistency, w.background_weight)
        assert weights == (1, 5, 1, 1)
    assert ours.train == resolve().train
    optimiser, train = theirs.optimiser, theirs.train
    assert (optimiser.lr, optimiser.schedule, optimiser.step_every) == (1e-4, "step", "8epochs")
    assert (optimiser.step_factor, train.epochs, train.batch_size) == (0.1, 100, 10)
    assert (train.unlabelled_ratio, train.ema) == (1, 0)
