from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from data_support import Listed, listed, sample
from filelock import FileLock

from pseudolabel_kit.data.store import Store
from pseudolabel_kit.errors import DataError, RunError
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


def test_withheld_labels_are_not_in_the_subset(opened: Callable[..., Store]) -> None:
    subset = opened(listed([sample()], label=1)).subset([0], labels=False)
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


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Sample(image=np.full((1, 4, 4), np.nan, np.float32)), "row1: .*NaN"),
        (Sample(image=np.full((1, 4, 4), np.inf, np.float32)), "row1: .*infinite"),
        (Sample(image=np.full((1, 4, 4), 2, np.float32)), r"row1: expected pixels in \[0, 1\]"),
        (Sample(image=np.zeros((4, 4), np.float32)), r"row1: expected an image \(C,H,W\)"),
        (
            Sample(image=np.zeros((1, 4, 4), np.float32), mask=np.zeros((1, 4, 5), bool)),
            "row1: the mask is 5x4 px, the image 4x4 px",
        ),
    ],
)
def test_bad_samples_name_their_row(
    opened: Callable[..., Store], broken: Sample, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        opened(listed([sample((1, 4, 4)), broken]))


def test_a_broken_promise_is_named(opened: Callable[..., Store]) -> None:
    dataset = Listed(given_rows=[Row(name="r", has_mask=True)], samples=[sample(mask=False)])
    with pytest.raises(DataError, match="r: the dataset promised a mask"):
        opened(dataset)


def test_lesion_classes_are_the_datasets_own_or_all(opened: Callable[..., Store]) -> None:
    one = [sample()]
    named = Listed(given_rows=listed(one).given_rows, samples=one, lesions=(1,))
    assert opened(named).lesion_classes == (1,)
    assert opened(listed(one)).lesion_classes == (0, 1)


def test_it_is_decoded_once(opened: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    dataset = listed([sample(), sample(seed=1)])
    opened(dataset, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
    monkeypatch.setattr(Listed, "read", None)
    again = opened(dataset, progress=lambda done, total: told.append((done, total)))
    assert len(told) == 2
    assert len(again.subset([0]).batch([0]).image) == 1


def test_what_decides_the_pixels_decides_the_folder(opened: Callable[..., Store]) -> None:
    samples = [sample()]
    folders = {
        opened(listed(samples)).folder,
        opened(listed(samples, name="other")).folder,
        opened(listed(samples), size=4).folder,
        opened(listed(samples), region="black").folder,
    }
    assert len(folders) == 4


def test_the_fingerprint_follows_the_pixels_and_not_the_folder(tmp_path: Path) -> None:
    samples = [sample()]

    def fingerprint(cache: str = "a", name: str = "listed", **options: object) -> str:
        dataset = listed(samples, name=name)
        return Store.open(dataset, cache=tmp_path / cache, **options).fingerprint  # type: ignore[arg-type]

    assert fingerprint("a") == fingerprint("b")
    others = (fingerprint(name="other"), fingerprint(size=4), fingerprint(region="black"))
    assert len({fingerprint(), *others}) == 4


@pytest.mark.parametrize("part", ["images.npy", "masks.npy", "pack.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_copy_is_decoded_again(
    opened: Callable[..., Store], part: str, harm: str
) -> None:
    dataset = listed([sample()])
    file = opened(dataset).folder / part
    sound = file.read_bytes()
    if harm == "remove":
        file.unlink()
    else:
        file.write_bytes(sound[:-3] if harm == "cut" else sound[:-1] + bytes([sound[-1] ^ 1]))
    with pytest.warns(UserWarning, match="damaged"):
        store = opened(dataset)
    assert file.read_bytes() == sound
    assert store.subset([0]).batch([0]).has_mask.all()


def test_what_a_killed_process_left_is_swept_away(opened: Callable[..., Store]) -> None:
    dataset = listed([sample()])
    folder = opened(dataset).folder
    left = folder.rename(folder.with_suffix(".building"))
    (left / "images.npy").write_bytes(b"half")
    assert opened(dataset).subset([0]).batch([0]).image.shape == (1, 1, 8, 6)
    assert not left.exists()


@pytest.mark.parametrize("cause", [KeyboardInterrupt, DataError, MemoryError])
def test_a_build_that_stops_leaves_no_pixels(
    opened: Callable[..., Store], tmp_path: Path, cause: type[BaseException]
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise cause

    dataset = listed([sample(seed=i) for i in range(3)])
    with pytest.raises(cause):
        opened(dataset, progress=stop)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
    assert len(opened(dataset).rows) == 3


def test_the_next_build_sweeps_the_cache_of_what_nobody_builds(
    opened: Callable[..., Store], tmp_path: Path
) -> None:
    for name in ("killed", "at work"):
        (tmp_path / "cache" / f"{name}.building").mkdir(parents=True)
    with FileLock(tmp_path / "cache" / "at work.lock"):
        opened(listed([sample()]))
    left = [path.stem for path in (tmp_path / "cache").glob("*.building")]
    assert left == ["at work"]


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(RunError, match=r"cache: cannot keep .*--set data\.cache="):
        Store.open(listed([sample()]), cache=tmp_path / "cache")


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="No space left on device"):
        Store.open(listed([sample()]), cache=tmp_path / "cache")
    monkeypatch.undo()
    assert Store.open(listed([sample()]), cache=tmp_path / "cache").size == (8, 6)


def test_the_datasets_own_faults_are_not_the_caches(tmp_path: Path) -> None:
    class Faulty(Listed):
        def read(self, index: int) -> Sample:
            raise PermissionError(13, "Permission denied", "/elsewhere/a.png")

    with pytest.raises(PermissionError):
        Store.open(Faulty(given_rows=[Row(name="a")], samples=[]), cache=tmp_path / "cache")


def test_the_default_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("PLK_CACHE", raising=False)
    dataset = listed([sample()])
    assert Store.open(dataset).folder.parent == tmp_path / "xdg" / "pseudolabel-kit"
    monkeypatch.setenv("PLK_CACHE", str(tmp_path / "mine"))
    assert Store.open(dataset).folder.parent == tmp_path / "mine"


def test_two_processes_build_it_once(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from pseudolabel_kit.data.pack import ensure\n"
        "from pseudolabel_kit.data.phantom import Phantom\n"
        "told = []\n"
        "folder = ensure(Phantom(size=32, patients=24), size=0, region='keep',\n"
        "                cache=Path(sys.argv[1]),\n"
        "                progress=lambda done, total: (told.append(done), time.sleep(0.02)))\n"
        "print(len(told), folder)\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=120)[0].split() for process in both]
    assert sorted(int(told) for told, _ in answers) == [0, 48]
    assert answers[0][1] == answers[1][1]
