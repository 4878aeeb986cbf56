from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plk_support import begun, make_prediction

from plk_thresholds.fixmatch import FixMatch
from plk_thresholds.none import Nothing
from pseudolabel_kit.interfaces import Prediction


def prediction_of(lesion: list[float], classes: list[float]) -> Prediction:
    """One row whose pixels and classes have these probabilities."""
    return Prediction(
        class_logits=torch.tensor([classes]).log(),
        mask_logits=torch.tensor(lesion).reshape(1, 1, 1, -1).logit(),
    )


def test_pixels_count_where_lesion_or_background_is_sure() -> None:
    prediction = prediction_of([0.99, 0.96, 0.94, 0.5, 0.06, 0.04, 0.01], [0.2, 0.3, 0.5])
    pseudo = begun(FixMatch()).fuse(prediction, {})
    assert pseudo.mask.flatten().tolist() == [1, 1, 1, 1, 0, 0, 0]
    assert pseudo.mask_weight.flatten().tolist() == [1, 1, 0, 0, 0, 1, 1]
    assert pseudo.label is pseudo.label_weight is None


@pytest.mark.parametrize(("sure", "weight"), [([0.01, 0.97, 0.02], 1), ([0.1, 0.8, 0.1], 0)])
def test_rows_count_where_their_class_is_sure(sure: list[float], weight: int) -> None:
    pseudo = begun(FixMatch(targets="both")).fuse(prediction_of([0.99, 0.5], sure), {})
    assert pseudo.label is not None
    assert pseudo.label_weight is not None
    assert pseudo.label.tolist() == [[0, 1, 0]]
    assert pseudo.label_weight.tolist() == [weight]
    assert pseudo.mask_weight.flatten().tolist() == [1, 0]


def test_labels_alone_leave_masks_out() -> None:
    pseudo = begun(FixMatch(targets="class")).fuse(prediction_of([0.99], [0.0, 0.0, 1.0]), {})
    assert not pseudo.mask_weight.any()
    assert pseudo.label_weight is not None
    assert pseudo.label_weight.all()


def test_a_pixel_counts_only_where_every_channel_is_sure() -> None:
    prediction = Prediction(
        class_logits=torch.zeros(1, 3),
        mask_logits=torch.tensor([[9.0, 9.0], [-9.0, 0.1]]).reshape(1, 2, 1, 2),
    )
    pseudo = begun(FixMatch()).fuse(prediction, {})
    assert pseudo.mask_weight.shape == (1, 1, 1, 2)
    assert pseudo.mask_weight.flatten().tolist() == [1, 0]
    assert pseudo.mask.flatten().tolist() == [1, 1, 0, 1]


@given(low=st.floats(0.5, 0.98), more=st.floats(0, 0.01), seed=st.integers(0, 99))
def test_a_higher_threshold_never_covers_more(low: float, more: float, seed: int) -> None:
    prediction = make_prediction(seed=seed)
    wide, narrow = (
        begun(FixMatch(threshold=t)).fuse(prediction, {}).mask_weight for t in (low, low + more)
    )
    assert (narrow <= wide).all()


@given(seed=st.integers(0, 99), row=st.integers(0, 2))
def test_batchmates_never_change_a_label(seed: int, row: int) -> None:
    part, prediction = begun(FixMatch(targets="both")), make_prediction(seed=seed)
    together, alone = part.fuse(prediction, {}), part.fuse(prediction.rows(slice(row, row + 1)), {})
    assert torch.equal(together.mask[row], alone.mask[0])
    assert torch.equal(together.mask_weight[row], alone.mask_weight[0])
    assert together.label is not None
    assert alone.label is not None
    assert torch.equal(together.label[row], alone.label[0])


def test_none_ignores_everything_and_is_not_even_asked_to_read() -> None:
    prediction = make_prediction()
    part = begun(Nothing())
    pseudo = part.fuse(prediction, {})
    assert part.reads == "nothing"
    assert not pseudo.mask_weight.any()
    assert torch.equal(pseudo.mask, torch.sigmoid(prediction.mask_logits))
    assert part.loss(prediction, pseudo)["mask"].total.sum() == 0
