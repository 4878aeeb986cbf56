"""DeepLIFT: the difference from a baseline, carried back through the network."""

from __future__ import annotations

from dataclasses import dataclass

import captum.attr  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn

from plk_captum.adapter import ask
from plk_captum.copies import Apart, Hidden, Tiled, exchanged
from plk_captum.layers import trace
from pseudolabel_kit.attribution import Attribution, ClassScores

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.Sigmoid, nn.Tanh, nn.Softplus)


@dataclass(frozen=True, kw_only=True)
class DeepLift(Attribution):
    """The rescale rule of Shrikumar et al. (2017): activations pass on delta out / delta in.

    Complete (attributions sum to F(x) - F(x')) where ReLU, LeakyReLU, ELU, Sigmoid, Tanh,
    Softplus and MaxPool2d modules are all that is not linear. What else there is, such as
    instance norm, pooling called as a function or SiLU, passes on its plain gradient, and the
    audit's `completeness_error` says what that costs. Three forward passes and one backward.
    """

    def attribute(self, scores: ClassScores, images: Tensor, base: Tensor, label: Tensor) -> Tensor:
        """Signed attributions (B,C,H,W)."""
        ran = trace(scores, images)
        fit = ((module, _fit(module, len(shapes))) for module, shapes in ran.items())
        new = {module: other for module, other in fit if other is not None}
        lift = captum.attr.DeepLift(exchanged(scores, new))
        # In half precision its quotients of small differences overflow.
        with torch.autocast(images.device.type, enabled=False):
            return ask(lift, images, label, baselines=base)


def _fit(module: nn.Module, times: int) -> nn.Module | None:
    """What captum's rules are right for (0.9), in place of a module that runs so many times.

    They keep one state for each module, mistake the gradient between neighbours, drop what
    overlapping windows share, and average a softmax over the batch.
    """
    if type(module) in ACTIVATIONS:
        return Apart(module, times)
    if isinstance(module, nn.MaxPool2d):
        plain = module.dilation == 1 and not module.ceil_mode and not module.return_indices
        return Apart(Tiled(module), times) if plain else Hidden(module)
    return Hidden(module) if isinstance(module, nn.Softmax) else None
