"""Guided Grad-CAM: the fine grain of guided backpropagation where Grad-CAM points."""

from __future__ import annotations

from dataclasses import dataclass

import captum.attr  # type: ignore[import-untyped]
from torch import Tensor, nn

from plk_captum.adapter import ask
from plk_captum.copies import Apart, Rectifier, exchanged
from plk_captum.layers import layer_name, trace
from pseudolabel_kit.attribution import ClassEvidence, ClassScores
from pseudolabel_kit.errors import PluginError

RECTIFIERS = (nn.ReLU, nn.LeakyReLU, nn.ReLU6)


@dataclass(frozen=True, kw_only=True)
class GuidedGradCam(ClassEvidence):
    """Guided backpropagation times Grad-CAM, enlarged (Selvaraju et al., 2017, section 3.2).

    Guided backpropagation (Springenberg et al., 2015) lets rectifiers pass back only positive
    gradient: max(0, g f'(x)). For ReLU that is theirs; for LeakyReLU and ReLU6, which they do
    not treat, the same formula is ours: a negative unit of a LeakyReLU passes its slope of the
    positive gradient instead of nothing. Rectifiers that are called as functions, and all other
    activations, pass on their plain gradient.

    Attributes:
        layer: as in `gradcam`.
    """

    layer: str = ""

    def credit(self, scores: ClassScores, images: Tensor, label: Tensor) -> Tensor:
        """Signed (B,C,H,W).

        Raises:
            PluginError: the classifier runs no rectifier that can be guided.
        """
        classes = len(self.task.classes)
        name = layer_name(scores, images, self.layer, "guided-gradcam", classes=classes)
        ran = trace(scores, images)
        rectifiers = {m: len(shapes) for m, shapes in ran.items() if isinstance(m, RECTIFIERS)}
        if not rectifiers:
            raise PluginError(
                "guided-gradcam: this classifier runs no ReLU, LeakyReLU or ReLU6 module to "
                "guide: expected a backbone that does, such as vgg-multiscale, or gradcam"
            )
        guided = exchanged(scores, {m: Apart(_as_relu(m), n) for m, n in rectifiers.items()})
        method = captum.attr.GuidedGradCam(guided, guided.get_submodule(name))
        return ask(method, images, label, interpolate_mode="bilinear")


def _as_relu(module: nn.Module) -> nn.Module:
    return module if isinstance(module, nn.ReLU) else Rectifier(module)
