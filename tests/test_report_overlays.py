from __future__ import annotations

import numpy as np

from pseudolabel_kit.report.overlays import inner_border, overlay

GREY = np.linspace(0, 1, 48).reshape(6, 8)


def test_a_map_of_zero_leaves_the_image_as_it_is() -> None:
    picture = overlay(GREY, np.zeros((6, 8)))
    np.testing.assert_array_equal(picture, np.rint(GREY * 255)[..., None].repeat(3, axis=-1))


def test_pictures_are_rgb_and_one_value_has_one_colour() -> None:
    grey, map_ = np.full((2, 4), 0.5), np.array([[0, 0.3, 0.6, 1.0]] * 2)
    picture = overlay(grey, map_)
    assert (picture.shape, picture.dtype.name) == ((2, 4, 3), "uint8")
    np.testing.assert_array_equal(picture[0], picture[1])
    np.testing.assert_array_equal(picture[:, 1:2], overlay(grey[:, 1:2], map_[:, 1:2]))
    assert len(np.unique(picture[0], axis=0)) == 4


def test_values_out_of_range_and_nan_are_clipped() -> None:
    map_ = np.array([[-1.0, np.nan, 2.0]])
    np.testing.assert_array_equal(
        overlay(np.ones((1, 3)), map_), overlay(np.ones((1, 3)), np.array([[0.0, 0.0, 1.0]]))
    )


def test_an_outline_is_drawn_where_the_map_passes_one_half() -> None:
    map_ = np.zeros((7, 7))
    map_[1:6, 1:6] = 0.9
    grey = np.zeros((7, 7))
    changed = (overlay(grey, map_, outline=0.5) != overlay(grey, map_)).any(-1)
    ring = map_ > 0
    ring[2:5, 2:5] = False
    np.testing.assert_array_equal(changed, ring)


def test_lines_are_wider_on_larger_images() -> None:
    mask = np.zeros((900, 900), dtype=bool)
    mask[100:800, 100:800] = True
    border = inner_border(mask)
    assert border[450, 100:104].tolist() == [True, True, True, False]


def test_a_mask_that_fills_the_image_has_no_border() -> None:
    assert not inner_border(np.ones((5, 5), dtype=bool)).any()
