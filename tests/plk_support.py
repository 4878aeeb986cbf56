"""Small things that the tests of the shipped parts share."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from plk_calibrated.caam import Caam, Cam
from plk_calibrated.integrated_gradients import IntegratedGradients
from plk_calibrated.vgg import VggMultiscale, VggNet
from plk_captum.deeplift import DeepLift
from plk_captum.gradcam import GradCam
from plk_captum.guided_gradcam import GuidedGradCam
from plk_captum.input_x_gradient import InputXGradient
from plk_captum.occlusion import Occlusion
from plk_captum.saliency import Saliency
from pseudolabel_kit.interfaces import Evidence, Explainer, Part, Prediction, Scale, Task
from pseudolabel_kit.testing import samples
from pseudolabel_kit.testing.samples import SIZE, make_batch, make_task

__all__ = [
    "SIZE",
    "Toy",
    "begun",
    "explainers",
    "make_batch",
    "make_evidence",
    "make_net",
    "make_prediction",
    "make_task",
    "rows_of",
]

P = TypeVar("P", bound=Part)


def begun(part: P, task: Task | None = None) -> P:
    part.begin(task or make_task())
    return part


def make_net(task: Task | None = None, seed: int = 0, **options: bool) -> VggNet:
    torch.manual_seed(seed)
    net = begun(VggMultiscale(width=0.1, **options)).build(task or make_task())
    assert isinstance(net, VggNet)
    return net


def make_prediction(rows: int = 3, masks: int = 1, seed: int = 0) -> Prediction:
    """Random logits and two random scales of one width, without a network."""
    rng = torch.Generator().manual_seed(seed)
    return Prediction(
        class_logits=torch.randn(rows, 3, generator=rng),
        mask_logits=3 * torch.randn(rows, masks, *SIZE, generator=rng),
        scales=tuple(
            Scale(
                features=torch.randn(rows, 4, side, side, generator=rng),
                weight=torch.randn(3, 4, generator=rng),
            )
            for side in (8, 4)
        ),
    )


def make_evidence(rows: int = 3, seed: int = 0) -> dict[str, Evidence]:
    """A random class map and a random attribution."""
    every = samples.make_evidence(rows, seed=seed)
    return {key: every[key] for key in ("caam", "ig")}


def rows_of(evidence: dict[str, Evidence], chosen: slice) -> dict[str, Evidence]:
    return {k: Evidence(map=e.map[chosen], family=e.family) for k, e in evidence.items()}


def explainers(task: Task | None = None) -> list[Explainer]:
    """Every shipped explainer, in its default form and in others."""
    parts: list[Explainer] = [
        Caam(levels=(1, 2, 3)),
        Cam(),
        Cam(target="predicted"),
        IntegratedGradients(steps=2),
        IntegratedGradients(steps=2, method="gausslegendre", baseline="zero"),
        InputXGradient(),
        InputXGradient(baseline="mean", target="predicted"),
        GradCam(layer="encoder.conv4"),
        GradCam(layer="encoder.conv3.7", target="predicted"),
        Saliency(),
        Occlusion(),
        Occlusion(cells=8, stride=1, baseline="zero"),
        DeepLift(),
        GuidedGradCam(),
    ]
    return [begun(part, task) for part in parts]


class Toy(nn.Module):
    """F_k(x) = sum over pixels of (k+1) x^3, whose integrated gradients are known."""

    def classify(self, images: Tensor) -> Tensor:
        cubes = images.pow(3).sum(dim=(1, 2, 3))
        return torch.stack([cubes, 2 * cubes, 3 * cubes], dim=1)

    def forward(self, images: Tensor) -> Prediction:
        return Prediction(class_logits=self.classify(images), mask_logits=images[:, :1])
