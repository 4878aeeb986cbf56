from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
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
