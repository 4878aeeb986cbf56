from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plk_views.paste import boxes, centres_within, paste, take
from pseudolabel_kit.interfaces import Batch, PseudoLabels, View


def told_apart(rows: int, first: int = 0, side: int = 6) -> View:
    """Every pixel has a value of its own, and so have all labels that belong to it."""
    numbers = torch.arange(first, first + rows * side * side, dtype=torch.float32)
    plane = numbers.reshape(rows, 1, side, side)
    return View(
        batch=Batch(
            image=plane / 1000,
            label=torch.zeros(rows, dtype=torch.int64),
            mask=plane + 0.1,
            has_label=torch.ones(rows, dtype=torch.bool),
            has_mask=torch.ones(rows, dtype=torch.bool),
            region=plane + 0.2,
        ),
        pseudo=PseudoLabels(mask=plane + 0.3, mask_weight=plane + 0.4),
    )


def assert_labels_fit(view: View) -> None:
    """Every label still stands where the pixel is that it belongs to."""
    number = view.batch.image * 1000
    labels = (view.batch.mask, view.batch.region, view.pseudo.mask, view.pseudo.mask_weight)
    for offset, label in zip((0.1, 0.2, 0.3, 0.4), labels, strict=True):
        assert label is not None
        torch.testing.assert_close(label, number + offset, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("centre", "rows", "columns"),
    [
        ((0.5, 0.5), [1, 2, 3], [1, 2, 3]),  # its first edge runs through a pixel's middle
        ((0.25, 0.75), [0, 1, 2], [3, 4, 5]),
        ((0.0, 1.0), [0], [4, 5]),  # what sticks out is cut
    ],
)
def test_a_box_is_where_it_was_asked_for(
    centre: tuple[float, float], rows: list[int], columns: list[int]
) -> None:
    found = boxes(torch.full((1, 2), 0.5), torch.tensor([centre]), (6, 6))
    expected = torch.zeros(1, 1, 6, 6, dtype=torch.bool)
    expected[0, 0, torch.tensor(rows)[:, None], columns] = True
    assert torch.equal(found, expected)


@given(seed=st.integers(0, 99), height=st.floats(0, 1), width=st.floats(0, 1))
def test_boxes_within_the_image_are_never_cut(seed: int, height: float, width: float) -> None:
    torch.manual_seed(seed)
    sides = torch.tensor([[height, width]]).expand(5, 2)
    found = boxes(sides, centres_within(sides), (17, 23))
    rows, columns = found.any(dim=3).sum(dim=(1, 2)), found.any(dim=2).sum(dim=(1, 2))
    assert ((rows - 17 * height).abs() < 1 + 1e-4)[columns > 0].all()
    assert ((columns - 23 * width).abs() < 1 + 1e-4)[rows > 0].all()


@given(seed=st.integers(0, 99))
def test_pixels_and_their_labels_move_together(seed: int) -> None:
    torch.manual_seed(seed)
    one, other = told_apart(3), told_apart(3, first=500)
    area = boxes(torch.rand(3, 2), torch.rand(3, 2), (6, 6))
    pasted = paste(one, other, area)
    assert torch.equal(pasted.batch.image >= 0.5, area)
    assert_labels_fit(pasted)


def test_a_known_truth_is_kept_where_both_sides_have_one() -> None:
    four = told_apart(4)
    yes, no = True, False
    onto = replace(
        four.batch,
        label=torch.tensor([1, 1, 1, 1]),
        has_label=torch.tensor([yes, yes, no, yes]),
        has_mask=torch.tensor([yes, yes, no, yes]),
    )
    source = replace(
        four.batch,
        label=torch.tensor([1, 2, 1, 2]),
        has_label=torch.tensor([yes, yes, yes, no]),
        has_mask=torch.tensor([yes, no, yes, no]),
    )
    area = boxes(torch.tensor([0.5, 0.5, 0.5, 0.0])[:, None].expand(4, 2), torch.rand(4, 2), (6, 6))
    pasted = paste(replace(four, batch=onto), replace(four, batch=source), area).batch
    assert pasted.has_label.tolist() == [yes, no, no, yes]  # the last was not pasted into
    assert pasted.has_mask.tolist() == [yes, no, no, yes]


def test_rows_are_taken_with_all_that_belongs_to_them() -> None:
    view = told_apart(3)
    classes = replace(view.pseudo, label=torch.eye(3), label_weight=torch.arange(3.0))
    taken = take(replace(view, pseudo=classes), torch.tensor([2, 0, 2]))
    assert torch.equal(taken.batch.image, view.batch.image[[2, 0, 2]])
    assert_labels_fit(taken)
    assert taken.pseudo.label is not None
    assert taken.pseudo.label.argmax(dim=1).tolist() == [2, 0, 2]
    assert taken.pseudo.label_weight is not None
    assert taken.pseudo.label_weight.tolist() == [2, 0, 2]
