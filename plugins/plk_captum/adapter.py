"""One question, put to any of captum's methods."""

from __future__ import annotations

import warnings

import captum.attr  # type: ignore[import-untyped]
from torch import Tensor

HOOKS = "Setting (forward, )?backward hooks"  # captum sets them, warns of it, removes them


def ask(
    method: captum.attr.Attribution, images: Tensor, label: Tensor, **options: object
) -> Tensor:
    """What the method answers for class `label` (B,) of images (B,C,H,W), detached.

    Asked with a leaf of its own, so that `images` neither gathers nor needs gradients.
    """
    leaf = images.detach().requires_grad_()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", HOOKS, UserWarning)
        answer: Tensor = method.attribute(leaf, target=label, **options)
    return answer.detach()
