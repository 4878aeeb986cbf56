"""Boxes, and what it means to paste one: pixels, truth and pseudo masks move together."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pseudolabel_kit.interfaces import Batch, PseudoLabels, View


def boxes(sides: Tensor, centres: Tensor, size: tuple[int, int]) -> Tensor:
    """(B,1,H,W) bool: the pixels whose middle lies in each row's box; what sticks out is cut.

    Args:
        sides: (B,2) height and width, as shares of the image's.
        centres: (B,2) from top and left, likewise.
        size: (H, W).
    """
    spans = []
    for axis, count in enumerate(size):
        middles = (torch.arange(count, device=sides.device) + 0.5) / count
        first = (centres - sides / 2)[:, axis, None]
        spans.append((middles >= first) & (middles < first + sides[:, axis, None]))
    return spans[0][:, None, :, None] & spans[1][:, None, None, :]


def centres_within(sides: Tensor) -> Tensor:
    """Centres (B,2), uniform among those that leave boxes with these sides uncut."""
    return sides / 2 + torch.rand_like(sides) * (1 - sides)


def paste(onto: View, source: View, box: Tensor) -> View:
    """`onto` with what `source` has within the box (B,1,H,W) bool; class labels are left alone.

    Of the known truth, a row that was pasted into keeps its mask where both sides have one, and
    its class where both are of one class.
    """
    batch, other = onto.batch, source.batch
    touched = box.flatten(1).any(dim=1)
    alike = other.has_label & (other.label == batch.label)
    pasted = replace(
        batch,
        image=other.image.where(box, batch.image),
        mask=other.mask.where(box, batch.mask),
        has_mask=batch.has_mask & (other.has_mask | ~touched),
        has_label=batch.has_label & (alike | ~touched),
        region=_within(box, other.region, batch.region),
    )
    pseudo = replace(
        onto.pseudo,
        mask=_within(box, source.pseudo.mask, onto.pseudo.mask),
        mask_weight=_within(box, source.pseudo.mask_weight, onto.pseudo.mask_weight),
    )
    return replace(onto, batch=pasted, pseudo=pseudo)


def take(view: View, rows: Tensor) -> View:
    """The view's rows in the order of the indices `rows` (B,) int64."""
    labels = view.pseudo
    pseudo = PseudoLabels(
        mask=_rows(labels.mask, rows),
        mask_weight=_rows(labels.mask_weight, rows),
        label=_rows(labels.label, rows),
        label_weight=_rows(labels.label_weight, rows),
    )
    return replace(view, batch=take_batch(view.batch, rows), pseudo=pseudo)


def take_batch(batch: Batch, rows: Tensor) -> Batch:
    """The batch's rows in the order of the indices `rows` (B,) int64."""
    return Batch(
        image=batch.image[rows],
        label=batch.label[rows],
        mask=batch.mask[rows],
        has_label=batch.has_label[rows],
        has_mask=batch.has_mask[rows],
        region=_rows(batch.region, rows),
    )


def _within(box: Tensor, inside: Tensor | None, outside: Tensor | None) -> Tensor | None:
    return None if inside is None or outside is None else inside.where(box, outside)


def _rows(values: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if values is None else values[rows]
