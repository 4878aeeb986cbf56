from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from data_support import Listed, sample

from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.data.splits import assign
from pseudolabel_kit.data.store import Store
from pseudolabel_kit.data.summary import Counts, count, lesion_share, same_images
from pseudolabel_kit.interfaces import Row, Sample, Split


def test_counts() -> None:
    rows = [
        Row(name="a", label=1, patient="P", has_mask=True),
        Row(name="b", label=1, patient="P", has_region=True),
        Row(name="c"),
        Row(name="d", label=0),
    ]
    assert count(rows, [0, 1, 2], classes=2) == Counts(
        images=3, patients=1, by_class=(0, 2), no_label=1, no_mask=2, no_region=2
    )


def make_store(cache: Path, sides: list[Split], samples: list[Sample]) -> Store:
    rows = [
        Row(name=f"{i}", label=0, split=split, has_mask=sample.mask is not None)
        for i, (split, sample) in enumerate(zip(sides, samples, strict=True))
    ]
    return Store.open(Listed(given_rows=rows, samples=samples), cache=cache)


def test_the_lesion_share_of_labelled_rows(tmp_path: Path) -> None:
    quarter = np.zeros((1, 4, 4), dtype=bool)
    quarter[0, :2, :2] = True
    image = sample((1, 4, 4)).image
    samples = [Sample(image=image, mask=m) for m in (quarter, quarter & False, ~quarter, None)]
    sides: list[Split] = ["labelled", "labelled", "test", "labelled"]
    store = make_store(tmp_path, sides, samples)
    share = lesion_share(store, assign(store.rows, DataConfig(), 0))
    assert (share.shown, share.empty, share.mean) == (1, 1, 0.25)


def test_no_masks_no_share(tmp_path: Path) -> None:
    store = make_store(tmp_path, ["labelled"], [Sample(image=sample().image)])
    share = lesion_share(store, assign(store.rows, DataConfig(), 0))
    assert (share.shown, share.empty) == (0, 0)
    assert math.isnan(share.mean)


def test_equal_images_on_two_sides_are_paired(tmp_path: Path) -> None:
    a, b = (Sample(image=sample(seed=i).image) for i in range(2))
    sides: list[Split] = ["labelled", "unlabelled", "val", "test", "test"]
    store = make_store(tmp_path, sides, [a, a, a, b, b])
    assert same_images(store, assign(store.rows, DataConfig(), 0)) == [(0, 2)]
