from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from data_support import Listed, listed, sample

from pseudolabel_kit.data.store import Store
from pseudolabel_kit.errors import DataError
from pseudolabel_kit.interfaces import Row, Sample


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Store]:
    def opened(dataset: Listed, **options: object) -> Store:
        return Store.open(dataset, cache=tmp_path / "cache", **options)  # type: ignore[arg-type]

    return opened


def test_pixels_come_back_as_they_were(opened: Callable[..., Store]) -> None:
    samples = [sample(seed=i) for i in range(5)]
    batch = opened(listed(samples)).subset([3, 0]).batch([1, 0])
    for place, index in enumerate((0, 3)):
        assert np.allclose(batch.image[place].numpy(), samples[index].image, atol=1e-7)
        assert (batch.mask[place].numpy() == samples[index].mask).all()
        assert batch.region is not None
        assert (batch.region[place].numpy() == samples[index].region).all()
    assert batch.image.dtype == batch.mask.dtype == torch.float32
    assert batch.label.dtype == torch.int64


def test_what_it_says_of_itself(opened: Callable[..., Store]) -> None:
    store = opened(listed([sample((3, 8, 6)), sample((3, 8, 6), seed=1)]))
    assert (store.channels, store.mask_channels, store.size) == (3, 1, (8, 6))
    assert store.names == ("row0", "row1")
    subset = store.subset([1])
    assert (len(subset), subset.indices, subset.names) == (1, (1,), ("row1",))


@pytest.mark.parametrize(("top", "dtype"), [(255, np.uint8), (65535, np.uint16)])
def test_depth_is_kept(opened: Callable[..., Store], top: int, dtype: type) -> None:
    levels = np.linspace(0, top, 64).round().astype(np.float32).reshape(1, 8, 8)
    flat = sample((1, 8, 8))
    store = opened(listed([flat, Sample(image=levels / top)]))
    assert np.load(store.folder / "images.npy").dtype == dtype
    assert np.allclose(store.subset([1]).batch([0]).image[0] * top, levels, atol=1e-2)
    assert np.allclose(store.subset([0]).batch([0]).image[0], flat.image, atol=1e-6)


def test_colour_with_equal_channels_is_grey(opened: Callable[..., Store]) -> None:
    grey = sample((1, 8, 8))
    same = Sample(image=np.repeat(grey.image, 3, axis=0))
    assert opened(listed([grey, same])).channels == 1
    coloured = opened(listed([same, sample((3, 8, 8))], name="colour"))
    assert coloured.channels == 3
    assert np.allclose(coloured.subset([0]).batch([0]).image[0], same.image, atol=1e-6)


def test_grey_among_colour_is_refused(opened: Callable[..., Store]) -> None:
    with pytest.raises(DataError, match="row0 is in colour but row1 is grey"):
        opened(listed([sample((3, 8, 8)), sample((1, 8, 8))]))
    with pytest.raises(DataError, match="row1 is in colour but row0 is grey"):
        opened(listed([sample((1, 8, 8)), sample((3, 8, 8))]))


def test_rows_that_lack_a_mask_a_label_or_a_region(opened: Callable[..., Store]) -> None:
    full, bare = sample(seed=1), sample(seed=2, mask=False, region=False)
    dataset = listed([bare, full])
    rows = [Row(name="bare"), dataset.given_rows[1]]
    batch = opened(Listed(given_rows=rows, samples=[bare, full])).subset([0, 1]).batch([0, 1])
    assert batch.has_mask.tolist() == batch.has_label.tolist() == [False, True]
    assert batch.mask[0].sum() == 0
    assert batch.region is not None
    assert batch.region[0].min() == 1
    assert (batch.mask[1].numpy() == full.mask).all()


def test_no_region_anywhere_is_none(opened: Callable[..., Store]) -> None:
    assert opened(listed([sample(region=False)])).subset([0]).batch([0]).region is None


def test_withheld_masks_are_not_even_opened(opened: Callable[..., Store]) -> None:
    store = opened(listed([sample(), sample(seed=1)]))
    (store.folder / "masks.npy").unlink()
    batch = store.subset([0, 1], masks=False).batch([0, 1])
    assert not batch.has_mask.any()
    assert not batch.mask.any()
    with pytest.raises(FileNotFoundError):
        store.subset([0, 1])


def test_a_class_that_cannot_hold_lesions_is_an_empty_mask(opened: Callable[..., Store]) -> None:
    samples = [sample(seed=i, mask=i == 3, region=False) for i in range(5)]
    labels = (0, 1, None, 1, 0)
    rows = [Row(name=f"row{i}", label=labels[i], has_mask=i == 3) for i in range(5)]
    store = opened(Listed(given_rows=rows, samples=samples, lesions=(1,)))
    batch = store.subset(range(5)).batch(range(5))
    assert batch.has_mask.tolist() == [True, False, False, True, True]
    assert not batch.mask[[0, 4]].any()
    assert batch.mask[3].any()
    withheld = store.subset(range(5), labels={0, 1, 3}, masks=False).batch([4, 3, 1, 0])
    assert withheld.has_mask.tolist() == [False, False, False, True], "row 4's class is not known"
    assert not withheld.mask.any()
    measured = store.subset(range(5), implied=False).batch(range(5))
    assert measured.has_mask.tolist() == [False, False, False, True, False]


def test_withheld_labels_are_not_in_the_subset(opened: Callable[..., Store]) -> None:
    subset = opened(listed([sample()], label=1)).subset([0], labels=())
    batch = subset.batch([0])
    assert (batch.has_label.tolist(), batch.label.tolist()) == ([False], [0])
    assert not any(1 in np.ravel(part) for part in [subset._labels])


@pytest.mark.parametrize("size", [8, 32])
def test_resizing(opened: Callable[..., Store], size: int) -> None:
    half = np.zeros((1, 16, 16), dtype=np.float32)
    half[..., 8:] = 1
    store = opened(listed([Sample(image=half, mask=half > 0, region=half > 0)]), size=size)
    batch = store.subset([0]).batch([0])
    assert store.size == (size, size)
    wanted = torch.zeros(1, size, size)
    wanted[..., size // 2 :] = 1
    assert torch.equal(batch.mask[0], wanted)
    assert torch.allclose(batch.image[0].mean(), torch.tensor(0.5), atol=0.01)
    assert (batch.image[0, 0, 0].diff() >= 0).all()


def test_resizing_averages_what_it_drops(opened: Callable[..., Store]) -> None:
    checks = (np.indices((1, 64, 64)).sum(axis=0) % 2).astype(np.float32)
    image = opened(listed([Sample(image=checks)]), size=8).subset([0]).batch([0]).image
    assert (image - 0.5).abs().max() < 0.05


def test_unlike_sizes_name_two_rows_and_the_remedy(opened: Callable[..., Store]) -> None:
    dataset = listed([sample((1, 18, 16)), sample((1, 25, 16))])
    with pytest.raises(DataError, match=r"row0 is 16x18 px but row1 is 16x25 px.*data\.size=224"):
        opened(dataset)
    assert opened(dataset, size=8).size == (8, 8)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (15, 40), (40, 15)])
def test_tiny_images_are_not_enlarged(
    opened: Callable[..., Store], height: int, width: int
) -> None:
    tiny = listed([sample((1, 16, 16)), sample((1, height, width))])
    said = f"row1: {width}x{height} px: expected at least 16 px a side"
    with pytest.raises(DataError, match=said):
        opened(tiny, size=32)


def test_small_images_may_be_kept_or_made_smaller(opened: Callable[..., Store]) -> None:
    small = listed([sample((1, 12, 12))])
    assert opened(small).size == opened(small, size=12).size == (12, 12)
    assert opened(small, size=8).size == (8, 8)


def test_black_outside_the_region(opened: Callable[..., Store]) -> None:
    given = sample()
    assert given.region is not None
    image = opened(listed([given]), region="black").subset([0]).batch([0]).image[0].numpy()
    assert (image[~given.region] == 0).all()
    assert np.allclose(image[given.region], given.image[given.region], atol=1e-6)
    with pytest.raises(DataError, match=r"row0 has no region.*data\.region=keep"):
        opened(listed([sample(region=False)], name="bare"), region="black")


def test_lesion_classes_are_the_datasets_own_or_all(opened: Callable[..., Store]) -> None:
    one = [sample()]
    named = Listed(given_rows=listed(one).given_rows, samples=one, lesions=(1,))
    assert opened(named).lesion_classes == (1,)
    assert opened(listed(one)).lesion_classes == (0, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("count", [50, 200])
def test_an_epoch_leaves_nothing_in_memory(count: int, opened: Callable[..., Store]) -> None:
    store = opened(listed([sample((1, 64, 64), seed=i) for i in range(count)]))
    rows = store.subset(range(count))
    for batch in np.random.default_rng(0).permutation(count).reshape(-1, 10):
        rows.batch(batch)
    maps = Path("/proc/self/smaps").read_text().splitlines()
    ours = [i for i, line in enumerate(maps) if str(store.folder) in line]
    resident = [int(line.split()[1]) for i in ours for line in maps[i : i + 8] if "Rss:" in line]
    assert len(resident) >= 3
    assert sum(resident) == 0  # KiB
