"""Sensitivity: how much a map changes when the image hardly does.

Yeh et al. (2019, "On the (in)fidelity and sensitivity of explanations", definition 3.1), by
captum: max ||Phi(x + d) - Phi(x)|| / ||Phi(x)|| over noise d that is nowhere above the radius.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from captum import metrics  # type: ignore[import-untyped]
from torch import Tensor

SAMPLES = 10
RADIUS = 0.02  # of the image's range; about 5 of 255 grey values


def sensitivity(explain: Callable[[Tensor], Tensor], images: Tensor, seed: int) -> Tensor:
    """The largest of the changes that some draws of noise bring to an explainer's map.

    Args:
        explain: maps (B,...) of images (B,C,H,W); its gradients may be its own affair.
        images: (B,C,H,W) in [0, 1]; so they are with noise.
        seed: of the noise, the same for every row and every explainer.

    Returns:
        (B,) at least 0, in units of the map's own norm; 0 is best.

    >>> sensitivity(torch.ones_like, torch.rand(2, 1, 4, 4), seed=0).tolist()
    [0.0, 0.0]
    """
    draw = torch.Generator().manual_seed(seed)

    def explained(given: Tensor | tuple[Tensor]) -> Tensor | tuple[Tensor]:
        if not isinstance(given, Tensor):  # captum's first call, whose answer it iterates over
            return (alone(given[0]),)
        return alone(given)

    def alone(images: Tensor) -> Tensor:
        with torch.enable_grad():
            return explain(images).detach()

    def noisy(images: Tensor) -> Tensor:
        noise = (2 * torch.rand(images.shape[1:], generator=draw) - 1) * RADIUS
        return (images + noise.to(images.device)).clamp(0, 1)

    found: Tensor = metrics.sensitivity_max(
        explained, images, noisy, n_perturb_samples=SAMPLES, max_examples_per_batch=len(images)
    )
    return found
