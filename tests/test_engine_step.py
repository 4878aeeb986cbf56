"""What one step computes, from the parts themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from plk_support import make_batch, make_net, make_task
from step_support import W, make_learner, mean, taken, weights, without_truth
from tiny_parts import Dropping, Learning
from torch import Tensor, nn
from torch.testing import assert_close

from plk_calibrated.caam import Caam
from plk_calibrated.sharpen import Sharpen
from plk_calibrated.vgg import VggMultiscale
from plk_thresholds.fixmatch import FixMatch
from plk_thresholds.none import Nothing
from pseudolabel_kit.engine.step import (
    CONSISTENCY,
    Step,
    concatenate,
    feature_changes,
    taught_once,
)
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import (
    Backbone,
    Batch,
    Explainer,
    LossTerm,
    Model,
    Prediction,
    PseudoLabels,
    View,
)
from pseudolabel_kit.losses import classification, consistency, segmentation, unbiased

BATCH = make_batch(4, seed=1)


def test_the_loss_is_the_weighted_sum_of_the_terms_by_name() -> None:
    learner = make_learner(explainers={"caam:start=0%": Caam()}, fuser=FixMatch(targets="both"))
    step, loss = taken(learner, **{"caam:start=0%": 3.0})
    assert list(step.terms) == [
        "classification",
        "segmentation",
        "caam:start=0%",
        "consistency.mask",
        "consistency.label",
    ]
    factors = torch.tensor([1.0, 5.0, 3.0, 2.0, 2.0])
    assert_close(loss.detach(), (factors * torch.stack(list(step.terms.values()))).sum())
    assert not any(term.requires_grad for term in step.terms.values())


def test_each_term_is_that_of_separate_forward_passes() -> None:
    """The rows share no statistics, so that one pass over all of them changes nothing."""
    learner = make_learner()
    step, _ = taken(learner)
    student, labelled = learner.model(step.labelled.image), step.labelled
    unlabelled = step.unlabelled
    assert unlabelled is not None
    answer = learner.model(unlabelled.image)
    debiased = replace(answer, mask_logits=unbiased(answer.mask_logits, W))
    pseudo = learner.method.fuser.fuse(debiased, {})
    expected = {
        "classification": classification(student.class_logits, labelled.label, labelled.has_label),
        "segmentation": segmentation(student.mask_logits, labelled.mask, labelled.has_mask, W),
        "consistency.mask": consistency(answer, pseudo, background_weight=W)["mask"],
    }
    assert step.terms.keys() == expected.keys()
    for name, term in expected.items():
        assert_close(step.terms[name], mean(term.total, term.count).detach(), msg=name)


@pytest.mark.parametrize("task", ["label", "mask"])
def test_a_row_teaches_only_what_is_known_of_it(task: str) -> None:
    learner = make_learner()
    known = torch.tensor([True, False, True, False])
    batch = replace(without_truth(make_batch(4)), **{f"has_{task}": known})
    batch.image.requires_grad_(True)
    learner(Step(batch, None, weights())).backward()
    assert batch.image.grad is not None
    reached = batch.image.grad.flatten(1).abs().amax(dim=1) > 0
    assert reached.tolist() == known.tolist()


def test_without_any_truth_the_loss_is_zero_and_finite() -> None:
    learner = make_learner()
    loss = learner(Step(without_truth(make_batch(2)), None, weights()))
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(p.grad is None or bool((p.grad == 0).all()) for p in learner.parameters())


def test_weak_labels_of_unlabelled_rows_are_learnt_without_their_masks() -> None:
    learner = make_learner()
    weak = replace(without_truth(make_batch(3, seed=2)), has_label=torch.ones(3, dtype=torch.bool))
    nothing = Step(without_truth(make_batch(4)), weak, weights() | {CONSISTENCY: 0.0})
    learner(nothing)
    answer = learner.model(weak.image).class_logits
    expected = nn.functional.cross_entropy(answer, weak.label)
    assert_close(nothing.terms["classification"], expected.detach())
    assert float(nothing.terms["segmentation"]) == 0
    assert "consistency.mask" not in nothing.terms
    assert nothing.pseudo is None


# ── the teacher ─────────────────────────────────────────────────────────────────────


def test_the_teacher_labels_and_only_the_student_learns() -> None:
    learner = make_learner()
    teacher = make_net(seed=7)
    learner.teacher = lambda: teacher
    step, loss = taken(learner)
    loss.backward()  # type: ignore[no-untyped-call]
    assert step.unlabelled is not None
    with torch.no_grad():
        logits = teacher(step.unlabelled.image).mask_logits
    assert step.pseudo is not None
    assert_close(step.pseudo.mask, (unbiased(logits, W) >= 0).float())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None for parameter in learner.model.parameters())


def test_debias_moves_the_label_and_can_be_switched_off() -> None:
    soft = Sharpen()  # without evidence its label is the decoder's probability
    labels = []
    for debias in (True, False):
        step, _ = taken(make_learner(fuser=soft, debias=debias))
        assert step.pseudo is not None
        labels.append(torch.logit(step.pseudo.mask))
    assert_close(labels[0] - labels[1], torch.full_like(labels[0], W).log(), atol=1e-3, rtol=0)


def test_labelling_leaves_no_gradient_and_the_mode_as_it_was() -> None:
    learner = make_learner(explainers={"looking": Looking()}, fuser=Sharpen())
    learner.train()
    step, _ = taken(learner, looking=0.0)
    assert learner.model.training
    assert all(parameter.requires_grad for parameter in learner.model.parameters())
    assert step.pseudo is not None
    assert not step.pseudo.mask.requires_grad


@dataclass(frozen=True, kw_only=True)
class Looking(Explainer):
    def explain(self, model: Model, images: Tensor, prediction: Prediction) -> Tensor:
        assert isinstance(model, nn.Module)
        assert not model.training
        images = images.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(model.classify(images).sum(), images)
        return gradient.abs().clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Forbidden(Explainer):
    def explain(self, model: Model, images: Tensor, prediction: Prediction) -> Tensor:
        raise AssertionError("asked")


def test_explainers_are_asked_only_where_the_fuser_reads_them() -> None:
    explainers = {"forbidden": Forbidden()}
    taken(make_learner(explainers=explainers), forbidden=0.0)
    with pytest.raises(PluginError, match="Forbidden: explain raised AssertionError: asked"):
        taken(make_learner(explainers=explainers, fuser=Sharpen()), forbidden=0.0)


def test_what_an_explainer_learns_is_trained() -> None:
    learner = make_learner(explainers={"learning": Learning()})
    step, loss = taken(learner, learning=1.0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(step.terms["learning"]) > 0
    head = learner.states["explainer 0"]
    assert all(bool((p.grad != 0).any()) for p in head.parameters() if p.grad is not None)
    assert [p.grad is None for p in head.parameters()] == [False, False]


def test_a_term_of_weight_zero_is_not_computed() -> None:
    learner = make_learner(explainers={"learning": Learning()})
    step, _ = taken(learner, learning=0.0)
    assert "learning" not in step.terms


def test_changed_features_reach_the_rows_of_their_view_alone() -> None:
    learner = make_learner()
    views = Dropping().perturb(View(batch=make_batch(3, seed=2), pseudo=PseudoLabels()), BATCH)
    batch = concatenate([BATCH, *(view.batch for view in views)])
    plain = learner.model(batch.image)
    backbone, first = learner.method.backbone, len(BATCH.image)
    found = learner.model(batch.image, **feature_changes(backbone, learner.model, first, views))
    kept = slice(0, -3)
    assert_close(found.mask_logits[kept], plain.mask_logits[kept])
    assert_close(found.class_logits, plain.class_logits)
    nothing = found.mask_logits[-3:]
    assert_close(nothing, nothing[:1].expand_as(nothing))
    assert not torch.allclose(nothing, plain.mask_logits[-3:])


def test_a_backbone_that_hides_its_features_is_told() -> None:
    class Closed(nn.Module):
        def forward(self, images: Tensor) -> Prediction:
            return Prediction()

    view = View(batch=BATCH, pseudo=PseudoLabels(), on_features=lambda maps: maps)
    with pytest.raises(PluginError, match=r"^VggMultiscale: this backbone does not let its fea"):
        feature_changes(VggMultiscale(), Closed(), 0, [view])


def begun(backbone: Backbone) -> Backbone:
    backbone.begin(make_task())
    return backbone


def test_a_backbone_s_own_terms_have_the_weight_of_their_group() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Edged(VggMultiscale):
        def loss(self, prediction: Prediction, batch: Batch) -> dict[str, LossTerm]:
            one = torch.ones(len(batch.image))
            return {"segmentation.edge": LossTerm(total=2 * one, count=one)}

    learner = make_learner(fuser=Nothing())
    learner.method = replace(learner.method, backbone=begun(Edged()))
    step, loss = taken(learner)
    assert step.terms["segmentation.edge"] == 2
    assert loss == 5 * 2


def test_a_term_without_a_weight_is_refused() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Strange(VggMultiscale):
        def loss(self, prediction: Prediction, batch: Batch) -> dict[str, LossTerm]:
            one = torch.ones(len(batch.image))
            return {"edge": LossTerm(total=one, count=one)}

    learner = make_learner()
    learner.method = replace(learner.method, backbone=begun(Strange()))
    with pytest.raises(
        PluginError, match=r"Strange: loss gave a term 'edge', which has no weight: expected a"
    ):
        taken(learner)


def test_class_labels_of_unlabelled_rows_teach_once_however_many_views() -> None:
    known = make_batch(3, seed=2)
    first, *others = taught_once([known, known, known])
    assert first is known
    assert known.has_label.any()
    assert not any(view.has_label.any() or view.has_mask.any() for view in others)
    assert all(torch.equal(view.image, known.image) for view in others)
