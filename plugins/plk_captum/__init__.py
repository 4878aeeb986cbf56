"""Attributions by captum, through one adapter."""

from __future__ import annotations

from pseudolabel_kit.plugin.component import Component
from pseudolabel_kit.plugin.hooks import hookimpl

PLK_CONTRACT = 1
COMPONENTS = [
    Component(
        "explainer",
        "gradcam",
        "plk_captum.gradcam:GradCam",
        "Feature maps, weighted by the class score's mean gradient.",
    ),
    Component(
        "explainer",
        "saliency",
        "plk_captum.saliency:Saliency",
        "The size of the class score's gradient at each pixel.",
    ),
    Component(
        "explainer",
        "input-x-gradient",
        "plk_captum.input_x_gradient:InputXGradient",
        "One gradient times the distance from a baseline.",
    ),
    Component(
        "explainer",
        "occlusion",
        "plk_captum.occlusion:Occlusion",
        "The class score that is lost when a window is covered.",
    ),
    Component(
        "explainer",
        "deeplift",
        "plk_captum.deeplift:DeepLift",
        "Differences from a baseline, carried back by the rescale rule.",
    ),
    Component(
        "explainer",
        "guided-gradcam",
        "plk_captum.guided_gradcam:GuidedGradCam",
        "Guided backpropagation where Grad-CAM points.",
    ),
]


@hookimpl
def plk_components() -> list[Component]:
    """What this plugin offers."""
    return COMPONENTS
