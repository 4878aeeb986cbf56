"""Outlines of COCO become the pixels that they mark."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pseudolabel_kit.scans.outlines import rasterise


def run_lengths(mask: np.ndarray) -> list[int]:
    """Runs of 0 and 1 in turns, down the columns, beginning with 0."""
    flat = np.concatenate([[False], mask.T.ravel(), [not mask.T.ravel()[-1]]])
    ends = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate([[0], ends])).tolist()


def packed(lengths: list[int]) -> str:
    """Run lengths as text."""
    text = ""
    for i, length in enumerate(lengths):
        value = length - (lengths[i - 2] if i > 2 else 0)
        while True:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr((bits | 32 if more else bits) + 48)
            if not more:
                break
    return text


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=60)))
def test_run_lengths_are_the_mask(mask: np.ndarray) -> None:
    lengths = run_lengths(mask)
    for counts in (lengths, packed(lengths)):
        outline = {"counts": counts, "size": list(mask.shape)}
        np.testing.assert_array_equal(rasterise(outline, mask.shape), mask)


@given(st.integers(0, 6), st.integers(0, 6), st.integers(1, 6), st.integers(1, 6))
def test_a_rectangle_is_its_pixels(x: int, y: int, width: int, height: int) -> None:
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    expected = np.zeros((14, 13), bool)
    expected[y : y + height, x : x + width] = True
    np.testing.assert_array_equal(rasterise([corners], (14, 13)), expected)


def test_several_polygons_are_one_mask() -> None:
    found = rasterise([[0, 0, 4, 0, 0, 4], [6.0, 6.0, 8.0, 6.0, 8.0, 8.0, 6.0, 8.0]], (8, 8))
    assert found[0, 0]
    assert found[6:, 6:].all()
    assert not found[4:6].any()


@pytest.mark.parametrize(
    "outline",
    [
        None,
        [],
        "text",
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 3, 4, 5, float("nan")]],
        [["a"] * 6],
        {"counts": [4, 5], "size": [3, 4]},
        {"counts": [4, 5], "size": [4, 4]},
        {"counts": [20, -4], "size": [4, 4]},
        {"counts": "@", "size": [4, 4]},
        {"counts": "\u20ac", "size": [4, 4]},
        {"counts": [10**30], "size": [4, 4]},
        {"counts": [2**62] * 4 + [16], "size": [4, 4]},
        {"counts": [2**64 - 16, 32], "size": [4, 4]},
        {"counts": [16.5], "size": [4, 4]},
        {"counts": [[16]], "size": [4, 4]},
        {"counts": {"16": 0}, "size": [4, 4]},
        {"counts": packed([2**62] * 4 + [16]), "size": [4, 4]},
        {"counts": packed([2**59] * 4 + [16]), "size": [4, 4]},
        {"counts": packed([16, -16, 16]), "size": [4, 4]},
        {"size": [4, 4]},
        [[10**400] * 6],
        [[{}] * 6],
    ],
)
def test_what_is_no_outline(outline: Any) -> None:
    with pytest.raises(ValueError, match=r"outline|polygon|run lengths"):
        rasterise(outline, (4, 4))


def test_a_polygon_may_lie_far_outside() -> None:
    for far in (1e300, -1e300):
        assert not rasterise([[far, far, far, far * 1.1, far * 1.1, far]], (4, 4)).any()
