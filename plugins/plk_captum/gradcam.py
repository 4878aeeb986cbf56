"""Grad-CAM: feature maps, weighted by what they do for the class score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import captum.attr  # type: ignore[import-untyped]
import torch.nn.functional as F
from torch import Tensor

from plk_captum.adapter import ask
from plk_captum.layers import layer_name
from pseudolabel_kit.attribution import ClassEvidence, ClassScores
from pseudolabel_kit.interfaces import Family


@dataclass(frozen=True, kw_only=True)
class GradCam(ClassEvidence):
    """ReLU(sum_k a_k A^k), a_k the mean of dF/dA^k over pixels (Selvaraju et al., 2017, eq. 1-2).

    Needs no linear head, unlike `cam`, but convolutions: in a transformer no layer that it would
    find by itself means much. Nil where nothing in the layer speaks for the class.

    Attributes:
        layer: whose output is A, by its dotted name in the model; empty = the last feature map
            of the deepest scale that the classifier runs through.
    """

    family: ClassVar[Family] = "class-map"
    layer: str = ""

    def credit(self, scores: ClassScores, images: Tensor, label: Tensor) -> Tensor:
        """(B,1,H,W) >= 0, enlarged from the layer's size."""
        classes = len(self.task.classes)
        name = layer_name(scores, images, self.layer, "gradcam", classes=classes)
        method = captum.attr.LayerGradCam(scores, scores.get_submodule(name))
        maps = ask(method, images, label, relu_attributions=True)
        return F.interpolate(maps, images.shape[-2:], mode="bilinear")
