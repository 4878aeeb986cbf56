"""What a big set takes: scans become a dataset, which is checked, split, opened and shuffled.

Run with: python tests/bench/bench_big_set.py FOLDER

Every stage is a process of its own, with what it starts. Its memory is the resident set of all of
them together, looked at five times a second; what they share is counted in each.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import SimpleITK as sitk

SIDE = 224
KIB = 1024
DRAW = """
import sys
from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.data.sampling import rows_of_step
from pseudolabel_kit.data.source import open_store

folder, steps = sys.argv[1], int(sys.argv[2])
store, splits = open_store(DataConfig(source=folder + "/dataset", cache=folder + "/cache"))
rows = store.subset(range(len(store.rows)))
for step in range(steps):
    chosen = rows_of_step(step, count=len(rows), batch=16, seed=0, stream="bench")
    batch = rows.batch(chosen)
print(f"{len(rows)} rows, {steps} batches of {tuple(batch.image.shape)}")
"""


def write_scans(folder: Path, volumes: int, depth: int) -> None:
    """Volumes of HU with masks: bodies of blocks that differ, and a lesion in most slices."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 4, depth * SIDE * SIDE).astype(np.int16)
    places = np.linspace(-1, 1, SIDE)
    body = (places[:, None] / 0.8) ** 2 + (places / 0.95) ** 2 < 1
    for number in range(volumes):
        blocks = rng.integers(-900, 100, (depth, SIDE // 16, SIDE // 16)).astype(np.int16)
        hu = np.where(body, blocks.repeat(16, axis=1).repeat(16, axis=2), np.int16(-1000))
        hu += np.roll(noise, rng.integers(len(noise))).reshape(hu.shape)
        mask = np.zeros(hu.shape, np.uint8)
        top, left = rng.integers(60, 140, 2)
        mask[depth // 4 :, top : top + 20, left : left + 30] = 1
        for kind, values in (("images", hu), ("masks", mask)):
            path = folder / kind / f"case{number:03d}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(values), str(path), True, 1)


def resident(session: int) -> int:
    """KiB that the processes of a session have in memory."""
    found = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended since
            if int((entry / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                found += int((entry / "statm").read_text().split()[1]) * 4
    return found


def stage(name: str, line: list[str]) -> None:
    """Run a command and print what it took."""
    begun, most = time.monotonic(), 0
    process = subprocess.Popen(
        line, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    told: list[str] = []
    reader = threading.Thread(target=lambda: told.extend(process.stdout or ()))
    reader.start()
    while process.poll() is None:
        most = max(most, resident(process.pid))
        time.sleep(0.2)
    reader.join()
    last = told[-1].strip() if told else ""
    seconds = time.monotonic() - begun
    print(f"{name:12} {most / KIB:6.0f} MiB {seconds:7.0f} s  exit {process.returncode}  {last}")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="is made, and removed in the end")
    parser.add_argument("--volumes", type=int, default=377)
    parser.add_argument("--depth", type=int, default=172)
    parser.add_argument("--batches", type=int, default=200)
    asked = parser.parse_args()
    folder: Path = asked.folder
    folder.mkdir(parents=True)
    plk = [sys.executable, "-m", "pseudolabel_kit", "data"]
    dataset, cache = str(folder / "dataset"), f"data.cache={folder / 'cache'}"
    try:
        write_scans(folder / "source", asked.volumes, asked.depth)
        stage("import", [*plk, "import", str(folder / "source"), "--out", dataset, "--jobs", "2"])
        shutil.rmtree(folder / "source")
        draw = [sys.executable, "-c", DRAW, str(folder)]
        stage("decode", [*draw, "1"])
        stage("draw", [*draw, str(asked.batches)])
        stage("an epoch", [*draw, str(-(-asked.volumes * asked.depth // 16))])
        stage("split", [*plk, "split", dataset, "--seed", "1"])
        stage("check", [*plk, "check", "--data", dataset, "--set", cache])
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
