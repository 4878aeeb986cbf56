"""Images that tell what is said of them, so that it is seen when one moves without the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pseudolabel_kit.interfaces import Batch, PseudoLabels, Task, View
from pseudolabel_kit.testing.answers import ROWS

BLOCK = 8  # pixels a side: large enough to be still there in a blurred image
FEWEST, MOST = 0.15, 0.85  # of a row's blocks are bright


def telling(view: View, labelled: Batch, task: Task) -> dict[str, Any]:
    """Dark images with bright blocks, which the mask, its weight and the region tell, too.

    The more of a row is bright, the likelier it is said to be of the last class.
    """
    masks, shown = _blocks(task, 0)
    others, their_images = _blocks(task, 1)
    share = masks.mean(dim=(1, 2, 3))
    label = F.pad(torch.stack((1 - share, share), dim=1), (len(task.classes) - 2, 0))
    pseudo = PseudoLabels(
        mask=masks, mask_weight=0.25 + 0.5 * masks, label=label, label_weight=torch.ones(ROWS)
    )
    return {
        "view": replace(
            view,
            batch=replace(view.batch, image=shown, mask=masks, region=masks.clone()),
            pseudo=pseudo,
        ),
        "labelled": replace(
            labelled,
            image=their_images,
            mask=others,
            region=others.clone(),
            has_mask=torch.ones(ROWS, dtype=torch.bool),
        ),
    }


def likenesses(view: View) -> dict[str, float]:
    """How alike what is said and what is seen are in a view of telling images, by what it is.

    1 is alike, 0 is not. Rows and pixels without weight do not count, and an image may be
    inverted.
    """
    pseudo, region = view.pseudo, view.batch.region
    assert pseudo.mask is not None
    assert pseudo.mask_weight is not None
    weight = pseudo.mask_weight
    image = view.batch.image.mean(dim=1, keepdim=True)
    doubted = (weight > 0) & (weight < 1)  # a weight of 1 is a truth that was pasted
    found = {
        "pseudo labels": _mean(map(abs, _correlations(image, pseudo.mask, weight > 0))),
        "weights": _mean(_correlations(pseudo.mask, weight, doubted)),
    }
    if region is not None and region.shape == weight.shape:
        found["region"] = _mean(map(abs, _correlations(image, region, weight > 0)))
    if pseudo.label is not None and pseudo.label_weight is not None:
        share, counts = pseudo.mask.mean(dim=(1, 2, 3)), pseudo.label_weight > 0
        rows = _correlations(share[None], pseudo.label[None, :, -1], counts[None])
        found["class labels"] = _mean(rows)
    return found


def _blocks(task: Task, seed: int) -> tuple[Tensor, Tensor]:
    """Masks (B,1,H,W), each row's of another share of bright blocks, and images that show them."""
    height, width = (side // BLOCK for side in task.size)
    rng = torch.Generator().manual_seed(seed)
    ranks = torch.rand(ROWS, height * width, generator=rng).argsort(dim=1).argsort(dim=1)
    bright = ranks < (height * width * torch.linspace(FEWEST, MOST, ROWS)[:, None]).round()
    blocks = bright.float().reshape(ROWS, 1, height, width)
    masks = F.interpolate(blocks, task.size, mode="nearest")
    return masks, (0.2 + 0.6 * masks).repeat(1, task.channels, 1, 1)


def _correlations(one: Tensor, other: Tensor, counts: Tensor) -> Iterator[float]:
    """Row by row, where there is something to correlate."""
    for a, b, where in zip(one, other, counts, strict=True):
        pair = torch.stack((a[where], b[where]))
        if pair.shape[1] > 1 and bool((pair.std(dim=1) > 0).all()):
            yield float(torch.corrcoef(pair)[0, 1])


def _mean(values: Iterable[float]) -> float:
    """1 of none."""
    found = list(values)
    return sum(found) / len(found) if found else 1.0
