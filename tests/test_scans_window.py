from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.scans.scan import window_of
from pseudolabel_kit.scans.window import GREY, WINDOWS, Window, wanted


@pytest.mark.parametrize("bits", [8, 16])
def test_a_window_runs_from_black_to_white_and_is_clipped(bits: int) -> None:
    grey = Window.parse("lung").grey(np.array([-3000.0, -1350, -600, 150, 2000]), bits)
    top = 2**bits - 1
    assert grey.tolist() == [0, 0, round(top / 2), top, top]
    assert grey.dtype == f"uint{bits}"


def test_a_window_is_a_name_or_two_numbers() -> None:
    assert Window.parse("mediastinal") == Window.parse("40/400") == WINDOWS["mediastinal"]
    assert Window.parse("-500.5/1400").black == -1200.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lungs", "did you mean 'lung'"),
        ("-600", "expected lung, mediastinal, percentile or LEVEL/WIDTH, as -600/1500"),
        ("1/2/3", "there is no window '1/2/3'"),
        ("-600/0", "expected a width above 0"),
        ("nan/5", "expected a width above 0"),
        ("0/inf", "expected a width above 0"),
    ],
)
def test_what_is_no_window_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Window.parse(text)


def test_grey_that_was_windowed_before_is_left_as_it_is() -> None:
    grey, hu = ([[[0, 40], [90, 255]]], [[[-1, 40], [90, 255]]])
    lung = WINDOWS["lung"]
    assert window_of(sitk.GetImageFromArray(np.array(grey, np.int16)), lung) == GREY
    assert window_of(sitk.GetImageFromArray(np.array(hu, np.int16)), lung) == lung
    assert GREY.grey(np.arange(256.0), 8).tolist() == list(range(256))


def test_percentiles_are_a_scan_s_own_window() -> None:
    percentiles = wanted("percentile")
    values = np.arange(1001)
    assert percentiles.of(values) == Window(500, 990)
    assert percentiles.of(values * 3 - 7) == Window(1493, 2970)
    grey = percentiles.of(values).grey(np.array([0.0, 5, 500, 995, 1000]), 8)
    assert grey.tolist() == [0, 0, 128, 255, 255]
    assert percentiles.of(np.full(9, 4)).grey(np.array([4.0]), 8).tolist() == [128]
    low = sitk.GetImageFromArray(np.arange(200, dtype=np.int16).reshape(2, 10, 10))
    assert window_of(low, percentiles) != GREY
    assert wanted("lung") == WINDOWS["lung"]
