from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_plk_views import view_of, views
from test_plk_views_paste import told_apart

from plk_views.bcp import BidirectionalCopyPaste
from pseudolabel_kit.errors import PluginError
from pseudolabel_kit.interfaces import Batch, PseudoLabels, View

BCP = BidirectionalCopyPaste()


def perturbed(unlabelled: View, labelled: Batch) -> tuple[View, View]:
    torch.manual_seed(0)
    inward, outward = BCP.perturb(unlabelled, labelled)
    return inward, outward


def rows_without(view: View, *maskless: int) -> Batch:
    """The view's rows as labelled ones, where some have a class but no mask."""
    known = torch.ones(len(view.batch.image), dtype=torch.bool)
    known[list(maskless)] = False
    return replace(view.batch, has_mask=known)


def test_each_view_is_the_other_ones_counterpart_and_labels_follow_pixels() -> None:
    """Unlabelled pixels are numbered from 0, labelled ones from 500."""
    unlabelled, labelled = told_apart(3), told_apart(3, first=500)
    for view, inside in zip(perturbed(unlabelled, labelled.batch), (True, False), strict=True):
        number = view.batch.image * 1000
        true = number >= 499
        box = true if inside else ~true
        assert box.sum(dim=(1, 2, 3)).tolist() == [16] * 3  # two thirds of each side, 4 by 4
        assert view.pseudo.mask is not None
        assert view.pseudo.mask_weight is not None
        torch.testing.assert_close(
            view.pseudo.mask, (number + 0.1).where(true, number + 0.3), atol=1e-3, rtol=0
        )
        torch.testing.assert_close(
            view.pseudo.mask_weight,
            torch.ones(()).where(true, (number + 0.4) / 2),
            atol=1e-3,
            rtol=0,
        )


def test_labelled_rows_with_masks_go_round_and_the_others_are_passed_over() -> None:
    unlabelled, labelled = told_apart(5), told_apart(3, first=500)
    inward, outward = perturbed(unlabelled, rows_without(labelled, 1))
    for view, expected in ((inward, [0, 2, 0, 2, 0]), (outward, [2, 0, 2, 0, 2])):
        number = view.batch.image * 1000 - 500
        row = (number / 36 + 1e-4).floor().amax(dim=(1, 2, 3))
        assert row.tolist() == expected


def test_a_mixture_has_no_one_class_and_its_truth_is_no_one_rows() -> None:
    unlabelled = view_of(2)
    hidden = replace(unlabelled.batch, has_mask=torch.zeros(2, dtype=torch.bool))
    for view in perturbed(replace(unlabelled, batch=hidden), told_like(unlabelled)):
        assert view.pseudo.label is None
        assert view.pseudo.label_weight is None
        assert not view.batch.has_mask.any()


def told_like(view: View) -> Batch:
    return replace(view.batch, has_mask=torch.ones(2, dtype=torch.bool))


def test_without_labelled_masks_nothing_is_pasted() -> None:
    view = view_of(3)
    assert BCP.perturb(view, rows_without(view, 0, 1, 2)) == [view]


def test_a_fuser_that_labels_no_masks_is_refused() -> None:
    view = view_of(3)
    classes = replace(view, pseudo=PseudoLabels(label=view.pseudo.label))
    with pytest.raises(PluginError, match="bcp: the fuser labels no masks"):
        views(BCP, classes)
