from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pseudolabel_kit.data.phantom import Phantom


def test_the_default_has_few_labels_and_many_without() -> None:
    rows = Phantom().rows()
    counts = Counter(row.split for row in rows)
    assert counts == {"labelled": 24, "unlabelled": 240, "val": 48, "test": 96}
    for split, count in counts.items():
        labels = Counter(row.label for row in rows if row.split == split)
        assert set(labels.values()) == {count // 3}


def test_patients_stand_on_one_side_and_have_several_slices() -> None:
    rows = Phantom().rows()
    sides = {(row.patient, row.split) for row in rows}
    assert len(sides) == len({row.patient for row in rows}) == len(rows) // 2


def test_a_slice_is_the_same_in_any_order() -> None:
    forth, back = Phantom(size=32, patients=12), Phantom(size=32, patients=12)
    read = [forth.read(i).image for i in range(24)]
    again = [back.read(i).image for i in reversed(range(24))][::-1]
    assert (np.array(read) == np.array(again)).all()


def test_options_change_pixels_and_fingerprint() -> None:
    few = Phantom(size=32, patients=12)
    other = Phantom(size=32, patients=12, seed=1)
    assert (few.read(0).image != other.read(0).image).any()
    assert len({p.fingerprint() for p in (few, other, Phantom(), Phantom(slices=3))}) == 4


def test_only_the_lesion_class_has_foreground_and_within_the_lungs() -> None:
    phantom = Phantom(size=48, patients=60)
    shares: dict[int | None, list[float]] = {0: [], 1: [], 2: []}
    for i, row in enumerate(phantom.rows()):
        sample = phantom.read(i)
        assert sample.mask is not None
        assert sample.region is not None
        assert not (sample.mask & ~sample.region).any()
        assert 0.1 < sample.region.mean() < 0.5
        shares[row.label].append(float(sample.mask.mean()))
    assert max(shares[0] + shares[1]) == 0
    assert 0.01 < np.mean(shares[2]) < 0.15
    assert phantom.lesion_classes == (2,)


def test_brightness_alone_does_not_tell_lesions() -> None:
    phantom = Phantom(size=48, patients=60)
    samples = [phantom.read(i) for i in range(len(phantom.rows()))]
    image = np.stack([sample.image for sample in samples])
    lungs = np.stack([sample.region for sample in samples if sample.region is not None])
    lesions = np.stack([sample.mask for sample in samples if sample.mask is not None])
    for threshold in np.linspace(0.3, 0.8, 11):
        bright = lungs & (image > threshold)
        dice = 2 * (bright & lesions).sum() / (bright.sum() + lesions.sum())
        assert dice < 0.5


def test_images_are_8_bit_grey_at_any_size() -> None:
    for size in (16, 33, 96):
        image = Phantom(size=size).read(7).image
        assert image.shape == (1, size, size)
        assert image.dtype == np.float32
        levels = image.astype(np.float64) * 255
        assert np.abs(levels - np.rint(levels)).max() < 1e-4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 8}, "size = 8: expected at least 16"),
        ({"patients": 3}, "patients = 3: expected at least 12"),
        ({"slices": 0}, "slices = 0: expected at least 1"),
        ({"seed": -1}, "seed = -1: expected at least 0"),
    ],
)
def test_options_out_of_range(options: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Phantom(**options)
