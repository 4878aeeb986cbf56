"""One question, put to any of captum's methods."""

from __future__ import annotations

import warnings

import captum.attr  # type: ignore[import-untyped]
from torch import Tensor

# Captum sets hooks, warns of it and removes them; and it unpools, which torch takes for
# undeterministic, although windows that do not overlap share no pixel.
WARNINGS = "Setting (forward, )?backward hooks|max_unpooling2d"


def ask(
    method: captum.attr.Attribution, images: Tensor, label: Tensor, **options: object
) -> Tensor:
    """What the method answers for class `label` (B,) of images (B,C,H,W), detached.

    Asked with a leaf of its own, so that `images` neither gathers nor needs gradients.
    """
    leaf = images.detach().requires_grad_()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", WARNINGS, UserWarning)
        answer: Tensor = method.attribute(leaf, target=label, **options)
    return answer.detach()
