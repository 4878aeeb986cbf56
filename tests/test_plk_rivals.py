"""Mean Teacher, UA-MT and the uncertainty that it trusts, against numbers worked by hand."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, log2

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plk_support import begun, make_net, make_prediction, make_task
from torch import Tensor, nn

from plk_rivals.mean_teacher import MeanTeacher
from plk_rivals.ua_mt import UncertaintyAware
from plk_rivals.uncertainty import Uncertainty, dropping
from pseudolabel_kit.errors import ConfigError, PluginError
from pseudolabel_kit.interfaces import Evidence, LossTerm, Prediction, PseudoLabels
from pseudolabel_kit.isolate import isolated
from pseudolabel_kit.plugin.build import build

W = make_task().background_weight


def mean(term: LossTerm) -> Tensor:
    return term.total.sum() / term.count.sum()


def student_of(*probabilities: float, channels: int = 1) -> Prediction:
    """One row of pixels which a student that was trained with w believes lesion to this degree."""
    logits = torch.tensor(probabilities).logit() - log(W)
    return Prediction(mask_logits=logits.reshape(1, channels, 1, -1).requires_grad_())


def teacher_of(*probabilities: float) -> Prediction:
    return Prediction(mask_logits=torch.tensor(probabilities).logit().reshape(1, 1, 1, -1))


def doubts(*shares: float, channels: int = 1) -> dict[str, Evidence]:
    plane = torch.tensor(shares).reshape(1, channels, 1, -1)
    return {"uncertainty": Evidence(map=plane, family="uncertainty")}


# ── mean-teacher ────────────────────────────────────────────────────────────────────


def test_the_loss_is_the_mean_squared_difference_of_probabilities() -> None:
    part = begun(MeanTeacher())
    pseudo = part.fuse(teacher_of(0.9, 0.2, 0.5, 0.5), {})
    torch.testing.assert_close(pseudo.mask, torch.tensor([0.9, 0.2, 0.5, 0.5])[None, None, None])
    assert pseudo.label is pseudo.label_weight is None
    student = student_of(0.7, 0.3, 0.5, 0.1)
    found = mean(part.loss(student, pseudo, student)["mask"]).item()
    assert found == pytest.approx((0.2**2 + 0.1**2 + 0 + 0.4**2) / 4, rel=1e-5)


def test_classes_have_the_mean_over_rows_and_classes() -> None:
    part = begun(MeanTeacher(targets="class"))
    teacher, student = (
        Prediction(class_logits=torch.tensor(rows).log())
        for rows in ([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]], [[0.4, 0.3, 0.3], [0.1, 0.1, 0.8]])
    )
    pseudo = part.fuse(teacher, {})
    assert pseudo.mask is pseudo.mask_weight is None
    (found,) = part.loss(student, pseudo, student).values()
    assert mean(found).item() == pytest.approx(2 * 0.2**2 / 6, rel=1e-5)


@given(seed=st.integers(0, 99))
def test_agreement_has_no_gradient_and_disagreement_has(seed: int) -> None:
    """The teacher's answer is corrected for w before it is fused; the student's is as it is."""
    part, teacher = begun(MeanTeacher(targets="both")), make_prediction(seed=seed)
    pseudo = part.fuse(teacher, {})
    mask = (teacher.need_masks("") - log(W)).requires_grad_()
    label = teacher.need_classes("").clone().requires_grad_()
    student = Prediction(mask_logits=mask, class_logits=label)
    for term in part.loss(student, pseudo, student).values():
        mean(term).backward()
    assert mask.grad is not None
    assert label.grad is not None
    assert mask.grad.abs().max() < 1e-8
    assert label.grad.abs().max() < 1e-8
    away = Prediction(mask_logits=(mask.detach() + 1).requires_grad_(), class_logits=label)
    mean(part.loss(away, pseudo, away)["mask"]).backward()
    assert away.mask_logits is not None
    assert away.mask_logits.grad is not None
    assert (away.mask_logits.grad > 0).any()


@given(seed=st.integers(0, 99), row=st.integers(0, 2))
def test_batchmates_never_change_a_label(seed: int, row: int) -> None:
    part, prediction = begun(MeanTeacher(targets="both")), make_prediction(seed=seed)
    together, alone = part.fuse(prediction, {}), part.fuse(prediction.rows(slice(row, row + 1)), {})
    for name in ("mask", "mask_weight", "label", "label_weight"):
        torch.testing.assert_close(getattr(together, name)[row], getattr(alone, name)[0])


def test_ignored_pixels_and_rows_teach_nothing() -> None:
    part, prediction = begun(MeanTeacher(targets="both")), make_prediction()
    pseudo = part.fuse(make_prediction(seed=1), {})
    assert pseudo.mask_weight is not None
    assert pseudo.label_weight is not None
    ignored = replace(
        pseudo, mask_weight=0 * pseudo.mask_weight, label_weight=0 * pseudo.label_weight
    )
    for term in part.loss(prediction, ignored, prediction).values():
        assert mean(term) == 0


# ── uncertainty ─────────────────────────────────────────────────────────────────────


class Fake(nn.Module):
    def classify(self, images: Tensor) -> Tensor:
        raise NotImplementedError


class Scripted(Fake):
    """Answers with these probabilities in turn, whatever it sees; remembers what it saw."""

    def __init__(self, *answers: list[float]) -> None:
        super().__init__()
        self.answers = list(answers)
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Prediction:
        self.seen.append(images)
        return student_of(*self.answers.pop(0))


class Dropper(Fake):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, images: Tensor) -> Prediction:
        return Prediction(mask_logits=self.norm(self.drop(images)))


def test_uncertainty_is_the_entropy_of_the_mean_answer_in_bits() -> None:
    model = Scripted([0.9, 0.0, 1.0], [0.1, 0.5, 1.0])
    images = torch.rand(1, 1, 1, 3)
    part = begun(Uncertainty(passes=2))
    found = part.explain(model, images, student_of(0.5, 0.5, 0.5))
    quarter = -(0.25 * log2(0.25) + 0.75 * log2(0.75))
    torch.testing.assert_close(found, torch.tensor([[[[1.0, quarter, 0.0]]]]))
    assert not found.requires_grad
    assert not torch.equal(model.seen[0], model.seen[1])


def test_noise_is_clipped_and_images_stay_images() -> None:
    model = Scripted([0.5], [0.5], [0.5])
    images = torch.rand(4, 1, 32, 32)
    begun(Uncertainty(passes=3, noise=0.1, limit=0.15)).explain(model, images, student_of(0.5))
    for seen in model.seen:
        assert 0.1 < (seen - images).abs().max() <= 0.15 + 1e-6
        assert seen.min() >= 0
        assert seen.max() <= 1


def test_dropout_drops_and_everything_else_stays_as_it_was_lent() -> None:
    model = Dropper()
    images = torch.full((2, 1, 16, 16), 0.5)
    part = begun(Uncertainty(passes=2, noise=0))
    with isolated(model):
        before = {name: each.clone() for name, each in model.state_dict().items()}
        one, other = (part.explain(model, images, model(images)) for _ in range(2))
        assert not any(each.training for each in model.modules())
        assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
        with dropping(model):
            assert model.drop.training
            assert not model.norm.training
    assert not torch.equal(one, other)
    assert model.drop.training


def test_dropout_stops_dropping_after_an_error() -> None:
    model = Dropper().eval()
    with pytest.raises(KeyError), dropping(model):
        raise KeyError
    assert not model.drop.training


def test_a_real_network_is_uncertain_somewhere_and_evidence_is_in_range() -> None:
    net, images = make_net(make_task(masks=2)).eval(), torch.rand(3, 1, 32, 37)
    found = begun(Uncertainty(passes=2), make_task(masks=2)).explain(net, images, net(images))
    assert found.shape == (3, 2, 32, 37)
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.std() > 0


# ── ua-mt ───────────────────────────────────────────────────────────────────────────


def test_the_threshold_grows_from_three_quarters_to_one() -> None:
    part = begun(UncertaintyAware(ramp=4))
    found = []
    for _ in range(7):
        found.append(part.threshold().item())
        part.fuse(teacher_of(0.5), doubts(0.1))
    shares = [min(batch / 4, 1) for batch in range(7)]
    assert found == pytest.approx([0.75 + 0.25 * exp(-5 * (1 - t) ** 2) for t in shares])
    assert found[4:] == [1, 1, 1]


def test_pixels_above_the_threshold_are_ignored_until_it_passes_them() -> None:
    part = begun(UncertaintyAware(ramp=1))
    teacher, doubt = teacher_of(0.9, 0.8, 0.5), doubts(0.7, 0.8, 1.0)
    for expected in ([1, 0, 0], [1, 1, 0]):  # a coin's pixel is never trusted
        pseudo = part.fuse(teacher, doubt)
        assert pseudo.mask_weight is not None
        assert pseudo.mask_weight.flatten().tolist() == expected


def test_a_pixel_is_certain_where_every_channel_and_map_is() -> None:
    part = begun(UncertaintyAware())
    teacher = Prediction(mask_logits=torch.zeros(1, 2, 1, 3))
    two = doubts(0.1, 0.1, 0.1, 0.1, 0.1, 0.9, channels=2)
    more = Evidence(map=torch.tensor([0.9, 0.1, 0.1]).reshape(1, 1, 1, 3), family="uncertainty")
    other = Evidence(map=torch.ones(1, 1, 1, 3), family="class-map")
    pseudo = part.fuse(teacher, {**two, "uncertainty:passes=2": more, "caam": other})
    assert pseudo.mask_weight is not None
    assert pseudo.mask_weight.flatten().tolist() == [0, 1, 0]


def test_the_loss_is_the_mean_over_the_certain_pixels_of_all_rows() -> None:
    part, student = begun(UncertaintyAware()), student_of(0.7, 0.3, 0.5, 0.1)
    pseudo = part.fuse(teacher_of(0.9, 0.2, 0.5, 0.5), doubts(0.1, 0.1, 0.9, 0.9))
    (term,) = part.loss(student, pseudo, student).values()
    assert term.count.tolist() == [2]
    assert mean(term).item() == pytest.approx((0.2**2 + 0.1**2) / 2, rel=1e-5)
    mean(term).backward()
    assert student.mask_logits is not None
    assert student.mask_logits.grad is not None
    assert (student.mask_logits.grad.flatten() != 0).tolist() == [True, True, False, False]


def test_the_count_of_batches_is_state_that_is_saved() -> None:
    part, again = begun(UncertaintyAware()), begun(UncertaintyAware())
    for _ in range(3):
        part.fuse(teacher_of(0.5), doubts(0.1))
    assert part.state is not None
    assert again.state is not None
    again.state.load_state_dict(part.state.state_dict())
    assert again.threshold() == part.threshold() != begun(UncertaintyAware()).threshold()


def test_without_masks_there_is_nothing_to_learn() -> None:
    part, student = begun(UncertaintyAware()), student_of(0.5)
    assert part.loss(student, PseudoLabels(), student) == {}


# ── refusals ────────────────────────────────────────────────────────────────────────


def test_without_an_explainer_of_uncertainty_one_is_asked_for() -> None:
    other = {"caam": Evidence(map=torch.ones(1, 1, 1, 1), family="class-map")}
    with pytest.raises(PluginError, match=r"ua-mt: no explainer tells .* --explainer uncertainty"):
        begun(UncertaintyAware()).fuse(teacher_of(0.5), other)


def test_a_backbone_that_lacks_the_head_is_named() -> None:
    classes, masks = Prediction(class_logits=torch.zeros(1, 3)), teacher_of(0.5)
    with pytest.raises(PluginError, match="mean-teacher: this backbone does not segment"):
        begun(MeanTeacher()).fuse(classes, {})
    with pytest.raises(PluginError, match="mean-teacher: this backbone does not classify"):
        begun(MeanTeacher(targets="both")).fuse(masks, {})
    with pytest.raises(PluginError, match="ua-mt: this backbone does not segment"):
        begun(UncertaintyAware()).fuse(classes, doubts(0.1))
    with pytest.raises(PluginError, match="uncertainty: this backbone does not segment"):
        begun(Uncertainty()).explain(Scripted(), torch.zeros(1, 1, 1, 1), classes)


@pytest.mark.parametrize(
    ("kind", "reference", "expected"),
    [
        ("fuser", "mean-teacher:targets=all", "targets=all: expected mask|class|both"),
        ("fuser", "ua-mt:ramp=0", "ramp=0: expected int >= 1"),
        ("explainer", "uncertainty:passes=0", "passes=0: expected int >= 1"),
        ("explainer", "uncertainty:noise=-1", "noise=-1: expected float >= 0"),
    ],
)
def test_options_out_of_range_are_refused(kind: str, reference: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        build(kind, reference)  # type: ignore[call-overload]
    assert expected in str(refusal.value)
