"""A folder of decoded images: packed arrays that are built once and memory-mapped after.

images.npy   (rows, C, H, W) uint8 or uint16, full scale = 1
masks.npy    (rows with a mask, K, H, W) uint8 in {0, 1}
regions.npy  (rows with a region, 1, H, W) uint8 in {0, 1}
pack.json    digests of the above, K, and for every row whether its mask has foreground
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from pseudolabel_kit.data.fit import Layout, WiderLayoutError, fit
from pseudolabel_kit.data.rowfile import RowWriter
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.interfaces import Dataset, Row, Sample

FORMAT = 2
Region = Literal["keep", "black"]
Progress = Callable[[int, int], None]


def default_cache() -> Path:
    """$PLK_CACHE, or pseudolabel-kit in the user's cache folder."""
    if chosen := os.environ.get("PLK_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pseudolabel-kit"


def fingerprint(dataset: Dataset, *, size: int, region: Region) -> str:
    """24 hex digits that change whenever a decoded pixel, a label or a split may have."""
    asked = json.dumps([dataset.fingerprint(), size, region])
    return hashlib.sha256(asked.encode()).hexdigest()[:24]


def ensure(
    dataset: Dataset, *, size: int, region: Region, cache: Path, progress: Progress | None
) -> Path:
    """The folder that holds the dataset decoded; built where it is missing or damaged.

    Two processes that ask at once build it once.

    Raises:
        DataError: the dataset cannot be read, or its images do not fit together.
        RunError: the folder cannot be written.
    """
    folder = cache / f"{fingerprint(dataset, size=size, region=region)}-v{FORMAT}"
    if _intact(folder):
        return folder
    with _writable(cache):
        cache.mkdir(parents=True, exist_ok=True)
        _sweep(cache)
        with FileLock(folder.with_suffix(".lock")):
            if _intact(folder):
                return folder
            if folder.exists():
                warnings.warn(f"{folder}: damaged, so the images are decoded again", stacklevel=2)
                shutil.rmtree(folder)
            _build(dataset, folder, size=size, region=region, progress=progress)
    return folder


def describe(folder: Path) -> dict[str, Any]:
    """What was told from pixels when the folder was built."""
    facts: dict[str, Any] = json.loads((folder / "pack.json").read_bytes())
    return facts


def _intact(folder: Path) -> bool:
    try:
        digests = describe(folder)["digests"]
        return all(_digest(folder / name) == wanted for name, wanted in digests.items())
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


@contextmanager
def _writable(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not full and not str(error.filename or "").startswith(str(cache)):
            raise
        raise RunError(
            f"{cache}: cannot keep decoded images here ({error.strerror}); "
            "choose another folder with --set data.cache=FOLDER"
        ) from None


def _sweep(cache: Path) -> None:
    """Remove what killed processes left half built."""
    for aside in cache.glob("*.building"):
        try:
            with FileLock(aside.with_suffix(".lock"), timeout=0):
                shutil.rmtree(aside, ignore_errors=True)
        except (Timeout, PermissionError):  # somebody is building it, or it is another user's
            continue


def _build(
    dataset: Dataset, folder: Path, *, size: int, region: Region, progress: Progress | None
) -> None:
    aside = folder.with_suffix(".building")
    try:
        facts = _fitted(dataset, aside, size=size, region=region, progress=progress)
        (aside / "pack.json").write_text(json.dumps(facts))
        _sync(aside / "pack.json")
        _sync(aside)
        aside.rename(folder)
    except BaseException:  # interrupted as well: half a dataset may be large
        shutil.rmtree(aside, ignore_errors=True)
        raise
    _sync(folder.parent)


def _fitted(
    dataset: Dataset, folder: Path, *, size: int, region: Region, progress: Progress | None
) -> dict[str, Any]:
    """Write every row in the narrowest layout that holds all."""
    layout = Layout()
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            return _write(dataset, folder, layout, size=size, region=region, progress=progress)
        except WiderLayoutError as wider:  # a later row is deeper, or coloured: begin again
            layout = wider.layout


def _write(
    dataset: Dataset,
    folder: Path,
    layout: Layout,
    *,
    size: int,
    region: Region,
    progress: Progress | None,
) -> dict[str, Any]:
    rows = dataset.rows()
    foreground: list[bool] = []
    masked, regioned = sum(r.has_mask for r in rows), sum(r.has_region for r in rows)
    with (
        RowWriter(folder / "images.npy", len(rows)) as images,
        RowWriter(folder / "masks.npy", masked) as masks,
        RowWriter(folder / "regions.npy", regioned) as regions,
    ):
        for done, (row, sample) in enumerate(_decode(dataset, rows), start=1):
            layout, pixels = fit(row, sample, layout, size=size, region=region)
            images.append(pixels.image)
            foreground.append(sample.mask is not None and bool(sample.mask.any()))
            if pixels.mask is not None:
                masks.append(pixels.mask)
            if pixels.region is not None:
                regions.append(pixels.region)
            if progress:
                progress(done, len(rows))
    digests = {f.path.name: f.digest.hexdigest() for f in (images, masks, regions) if f.count}
    return {
        "digests": digests,
        "mask_channels": layout.mask_channels or 1,
        "foreground": foreground,
    }


def _decode(dataset: Dataset, rows: Sequence[Row]) -> Iterator[tuple[Row, Sample]]:
    """Every row in order, read ahead by a few threads."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(rows), 8 * workers):
            chunk = range(start, min(start + 8 * workers, len(rows)))
            yield from zip((rows[i] for i in chunk), pool.map(dataset.read, chunk), strict=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
