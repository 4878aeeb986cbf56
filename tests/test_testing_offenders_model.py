"""Explainers that leave something behind, in the model or elsewhere, before the kit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import Site
from planted_explainers import Sound
from planted_support import Offender, Offenders
from torch import Tensor, nn

from pseudolabel_kit.interfaces import Prediction

offends = Offenders("explainer")
LEFT = "the_model_is_left_as_it_was"


@offends(LEFT, "explain changed the model: the layer of shallow.2", r"copy\.deepcopy\(model\)")
class LeavesOtherLayers(Sound):
    def leave(self, model: Any, images: Tensor) -> None:
        model.shallow[2] = nn.LeakyReLU(0.5).eval()


@offends(LEFT, "explain changed the model: the layer of spare", "copy of the model")
class LeavesALayer(Sound):
    def leave(self, model: Any, images: Tensor) -> None:
        model.spare = nn.Identity().eval()


@offends(LEFT, "explain changed the model: the attributes of dropout", "copy of the model")
class LeavesAttributes(Sound):
    def leave(self, model: Any, images: Tensor) -> None:
        model.dropout.p = 0.0


@offends(LEFT, "explain changed the model: the attributes of the whole", "copy of the model")
class LeavesItWrapped(Sound):
    def leave(self, model: Any, images: Tensor) -> None:
        inner = type(model).forward
        model.forward = lambda *given, **named: inner(model, *given, **named)


@offends(LEFT, "explain changed the model: the hooks of shallow.0.weight", "remove every hook")
class LeavesAHookOnAWeight(Sound):
    def leave(self, model: Any, images: Tensor) -> None:
        weight = model.shallow[0].weight
        trained = weight.requires_grad
        weight.requires_grad_(True).register_hook(lambda slope: 0 * slope)
        weight.requires_grad_(trained)


@offends(
    "global_settings_are_left_alone",
    r"explain changed the hooks of all modules from \{\} to \{'_global_forward_hooks'",
    "no global setting",
)
class LeavesAHookOnEverything(Sound):
    def leave(self, model: Any, images: Tensor) -> None:
        nn.modules.module.register_module_forward_hook(lambda *_: None)


@offends("inputs_are_left_alone", "explain changed requires_grad of images", r"detach\(\)\.clone")
class LeavesImagesDifferentiable(Sound):
    def explain(self, model: Any, images: Tensor, prediction: Prediction) -> Tensor:
        images.requires_grad_(True)
        return super().explain(model, images, prediction)


@offends(
    "mixed_precision",
    "autocast to torch.bfloat16: explain raised TypeError: .*BFloat16.*offenders_model.py:",
    "make it work",
)
class NeedsNumPy(Sound):
    def explain(self, model: Any, images: Tensor, prediction: Prediction) -> Tensor:
        assert prediction.need_classes(self.origin).numpy().ndim == 2
        return super().explain(model, images, prediction)


@pytest.mark.parametrize("offender", offends.all, ids=str)
def test_an_offender_is_caught(offender: Offender, site: Site) -> None:
    offends.assert_caught(offender, site)
    assert not torch.nn.modules.module._global_forward_hooks
