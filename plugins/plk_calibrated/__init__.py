"""The calibrated pseudo labels of Li et al.: network, explanations, fusion, strong view."""

from __future__ import annotations

from pseudolabel_kit.plugin.component import Component
from pseudolabel_kit.plugin.hooks import hookimpl

PLK_CONTRACT = 1
COMPONENTS = [
    Component(
        "backbone",
        "vgg-multiscale",
        "plk_calibrated.vgg:VggMultiscale",
        "VGG blocks, class scores on three scales, a U-Net decoder.",
    ),
    Component(
        "explainer",
        "caam",
        "plk_calibrated.caam:Caam",
        "Class-agnostic activation maps, with the CAM loss.",
    ),
    Component("explainer", "cam", "plk_calibrated.caam:Cam", "Class activation maps of one class."),
    Component(
        "explainer",
        "ig",
        "plk_calibrated.integrated_gradients:IntegratedGradients",
        "Integrated gradients of a class score, by captum.",
    ),
    Component(
        "explainer",
        "margin-cam",
        "plk_calibrated.margin_cam:MarginCam",
        "CAM of the lesion classes' margin over the others, taught by pixels.",
    ),
    Component(
        "fuser",
        "posterior",
        "plk_calibrated.posterior:Posterior",
        "Soft labels: decoder and evidence, weighed by what held-out rows show.",
    ),
    Component(
        "fuser",
        "sharpen",
        "plk_calibrated.sharpen:Sharpen",
        "Soft labels: evidence and decoder, normalised, mixed and sharpened.",
    ),
    Component(
        "perturbation",
        "contrast-sharpness",
        "plk_calibrated.contrast_sharpness:ContrastSharpness",
        "Random contrast and sharpness for every row.",
    ),
    Component(
        "recipe",
        "calibrated",
        "plk_calibrated:recipes/calibrated.toml",
        "Calibrated pseudo labels with our defaults.",
    ),
    Component(
        "recipe",
        "calibrated-paper",
        "plk_calibrated:recipes/calibrated-paper.toml",
        "Calibrated pseudo labels as printed, flaws included.",
    ),
    Component(
        "recipe",
        "posterior",
        "plk_calibrated:recipes/posterior.toml",
        "Labels calibrated on held-out rows, from decoder, taught class maps and classes.",
    ),
]


@hookimpl
def plk_components() -> list[Component]:
    """What this plugin offers."""
    return COMPONENTS
