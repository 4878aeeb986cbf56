from __future__ import annotations

import pytest
import torch
from plk_support import make_prediction, make_task
from tiny_parts import Learning, Remembering
from torch import Tensor, nn

from plk_calibrated.vgg import VggMultiscale
from pseudolabel_kit.config import MethodConfig
from pseudolabel_kit.engine.label import explain, predict, pseudo_label
from pseudolabel_kit.engine.method import Method
from pseudolabel_kit.errors import ConfigError, PluginError
from pseudolabel_kit.interfaces import (
    Evidence,
    Explainer,
    Fuser,
    Model,
    Prediction,
    PseudoLabels,
)


def test_a_method_is_built_from_references() -> None:
    method = Method.build(
        MethodConfig(
            backbone="vgg-multiscale:width=0.5",
            explainer="ig:steps=2,ig:steps=4,caam",
            fuser="sharpen:norm=pixel",
            perturbation="none",
        )
    )
    assert list(method.explainers) == ["ig:steps=2", "ig:steps=4", "caam"]
    assert method.perturbations == ()
    assert method.backbone == VggMultiscale(width=0.5)


@pytest.mark.parametrize("kind", ["explainer", "perturbation"])
def test_the_same_part_twice_is_refused(kind: str) -> None:
    name = {"explainer": "caam", "perturbation": "contrast-sharpness"}[kind]
    with pytest.raises(ConfigError, match=f"method.{kind} = .*'{name}' is given twice"):
        Method.build(MethodConfig(**{kind: f"{name},{name}"}))


@pytest.mark.parametrize(
    ("field", "reference", "complaint"),
    [
        ("fuser", "sharpn", r"sharpn.*did you mean 'sharpen'"),
        ("fuser", "sharpen:nrm=pixel", r"nrm.*did you mean 'norm'"),
        ("fuser", "sharpen:temperature=-1", "temperature"),
        ("explainer", "caam,", r"method\.explainer = 'caam,': "),
        ("backbone", "caam", "caam"),
    ],
)
def test_a_misspelt_part_is_one_line(field: str, reference: str, complaint: str) -> None:
    with pytest.raises((ConfigError, PluginError), match=complaint) as refused:
        Method.build(MethodConfig(**{field: reference}))
    assert "\n" not in str(refused.value)


def test_states_are_kept_by_role() -> None:
    method = Method(
        backbone=VggMultiscale(),
        explainers={"learning": Learning(), "learning:start=5%": Learning(start="5%")},
        fuser=Remembering(),
        perturbations=(),
    )
    states = method.begin(make_task())
    assert list(states) == ["fuser", "explainer 0", "explainer 1"]
    assert states["fuser"] is method.fuser.state
    assert method.backbone.task == make_task()


# ── from images to labels ───────────────────────────────────────────────────────────


class Fixed(nn.Module):
    """The same answer to whatever is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Prediction:
        return make_prediction(len(images))

    def classify(self, images: Tensor) -> Tensor:
        return self.forward(images).class_logits


class Shaped(Explainer):
    """Evidence of a shape that a test wants."""

    shape: tuple[int, ...] = (3, 1, 32, 37)

    def explain(self, model: Model, images: Tensor, prediction: Prediction) -> Tensor:
        return torch.zeros(self.shape, requires_grad=True)


class Shapely(Fuser):
    mask: tuple[int, ...] = (3, 1, 32, 37)
    weight: tuple[int, ...] = (3, 1, 32, 37)
    seen: object = None

    def fuse(self, prediction: Prediction, evidence: object) -> PseudoLabels:
        type(self).seen = (prediction, evidence)
        return PseudoLabels(mask=torch.zeros(self.mask), mask_weight=torch.ones(self.weight))


def method_of(fuser: Fuser, explainer: Explainer | None = None) -> Method:
    explainers = {"shaped": explainer or Shaped()}
    parts = Method(backbone=VggMultiscale(), explainers=explainers, fuser=fuser, perturbations=())
    parts.begin(make_task())
    return parts


IMAGES = torch.zeros(3, 1, 32, 37)


@pytest.mark.parametrize("shape", [(3, 32, 37), (3, 1, 16, 18), (2, 1, 32, 37), (3, 2, 32, 37)])
def test_evidence_of_another_shape_names_the_explainer(shape: tuple[int, ...]) -> None:
    explainer = Shaped()
    object.__setattr__(explainer, "shape", shape)
    expected = (
        rf"Shaped: explain gave evidence of shape .*{shape[-1]}\): expected \(3, 1, 32, 37\)$"
    )
    with pytest.raises(PluginError, match=expected):
        explain(Fixed(), {"shaped": explainer}, IMAGES, make_prediction())


@pytest.mark.parametrize("field", ["mask", "weight"])
def test_labels_of_another_shape_are_refused(field: str) -> None:
    fuser = Shapely()
    object.__setattr__(fuser, field, (3, 1, 1, 1))
    with pytest.raises(
        PluginError, match=r"Shapely: fuse gave mask(_weight)? of shape \(3, 1, 1, 1\)"
    ):
        pseudo_label(Fixed(), method_of(fuser), IMAGES, debias=True)


def test_the_fuser_sees_detached_evidence_and_a_corrected_prediction() -> None:
    found = pseudo_label(Fixed(), method_of(Shapely()), IMAGES, debias=True)
    evidence: Evidence = found.evidence["shaped"]
    assert evidence.family == "attribution"
    assert not evidence.map.requires_grad
    plain = predict(Fixed(), IMAGES, method_of(Shapely()), debias=False)
    difference = found.prediction.mask_logits - plain.mask_logits
    assert torch.allclose(difference, torch.tensor(0.5).log())


def test_evidence_can_be_had_where_the_fuser_reads_none() -> None:
    method = method_of(Remembering())
    assert pseudo_label(Fixed(), method, IMAGES, debias=True).evidence == {}
    asked = pseudo_label(Fixed(), method, IMAGES, debias=True, explained=True)
    assert list(asked.evidence) == ["shaped"]
