"""The run folder: what lies where, who may write, and the log.

run.toml            the resolved configuration; repeats the run
provenance.json     versions, device, seed, split, counts
metrics.jsonl       one record a line: step, epoch, audit, event
checkpoints/        step-*.safetensors (the last ones), best.safetensors
evaluation-*.json   measures of a split; evaluation-*.npz what they were computed from
explanations-*.json measures of the explainers' maps on a split
cost.json           time, throughput, memory, size
strips.npz          pictures for the report
failure.txt         the traceback of the part that stopped the run, until it goes on
report.html
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from pseudolabel_kit.config import Config
from pseudolabel_kit.errors import RunError
from pseudolabel_kit.files import write_text, written_aside
from pseudolabel_kit.layers import read_toml, resolve


class RunFolder:
    """A run's folder on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "run.toml"
        self.log_file = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.strips = path / "strips.npz"
        self.failure = path / "failure.txt"
        self.report = path / "report.html"
        self.evidence = path / "audit" / "evidence"
        self._lock = FileLock(path / ".lock")

    def refuse(self, *, overwrite: bool) -> None:
        """Say why no new run can begin here, before any work for it is done.

        Raises:
            RunError: it is being trained into, holds a run or other files, is a file, or
                may not be looked into.
        """
        with self._permitted():
            self._refuse(overwrite=overwrite)

    def _refuse(self, *, overwrite: bool) -> None:
        if self._busy():
            raise RunError(f"{self.path}: another process is training into it")
        if self.config_file.exists() and not overwrite:
            raise RunError(
                f"{self.path}: already holds a run; continue it with --resume {self.path}, "
                "replace it with --overwrite, or choose another --out"
            )
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path}: is a file; expected a folder for --out")
        if not self.config_file.exists() and self.path.exists() and any(self._foreign()):
            raise RunError(f"{self.path}: holds other files and no run; choose another --out")

    def create(self, config: Config, *, overwrite: bool) -> None:
        """Make the folder and write its configuration.

        Raises:
            RunError: it is refused, another process is training into it, or it cannot be written.
        """
        self.refuse(overwrite=overwrite)
        self.lock()
        self._clear()
        write_text(self.config_file, config.to_toml())

    def reopen(self) -> None:
        """Lock the folder of a run that goes on.

        Raises:
            RunError: the folder holds no run, or another process is training into it.
        """
        self.config()
        self.lock()

    def config(self) -> Config:
        """The configuration that the run was started with.

        Raises:
            RunError: the folder holds no run, or may not be looked into.
        """
        with self._permitted():
            found = self.config_file.is_file()
        if not found:
            raise RunError(f"{self.path}: not a run: there is no run.toml in it")
        return resolve(read_toml(self.config_file), origin=str(self.config_file))

    def trained(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return any(self.checkpoints.glob("*.safetensors"))

    def config_hash(self) -> str:
        """A hash of `run.toml` as it stands: checkpoints say which configuration they are of."""
        return hashlib.blake2b(self.config_file.read_bytes(), digest_size=16).hexdigest()

    def lock(self) -> None:
        """Keep other processes from training into this folder until this one ends.

        Raises:
            RunError: another process is training into it, or it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._clear_parts()
        except Timeout:
            raise RunError(f"{self.path}: another process is training into it") from None
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written: {error.strerror}") from None

    def unlock(self) -> None:
        """Let others train into the folder."""
        self._lock.release()

    def append(self, records: list[Mapping[str, Any]]) -> int:
        """Add records to the log and return its length in bytes.

        Raises:
            RunError: the folder cannot be written or the disk is full.
        """
        try:
            with self.log_file.open("ab") as file:
                file.write("".join(json.dumps(r) + "\n" for r in records).encode())
                file.flush()
                os.fsync(file.fileno())
                return file.tell()
        except OSError as error:
            raise RunError(f"{self.log_file}: cannot be written: {error.strerror}") from error

    def rewind(self, length: int) -> None:
        """Cut the log back to what it was when a checkpoint was written."""
        if self.log_file.exists() and self.log_file.stat().st_size > length:
            os.truncate(self.log_file, length)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a whole JSON file."""
        write_text(self.path / name, json.dumps(content, indent=2, allow_nan=False) + "\n")

    def write_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write a whole compressed NumPy archive; never pickled."""
        with written_aside(self.path / name) as aside, aside.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @contextlib.contextmanager
    def _permitted(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise RunError(f"{self.path}: {error.strerror}") from None

    def _busy(self) -> bool:
        if not Path(self._lock.lock_file).exists():
            return False
        try:
            with self._lock.acquire(timeout=0):
                return False
        except Timeout:
            return True

    def _foreign(self) -> list[Path]:
        return [p for p in self.path.iterdir() if p.name != ".lock" and p.suffix != ".part"]

    def _clear_parts(self) -> None:
        """Delete what a killed process had not finished writing."""
        for folder in (self.path, self.checkpoints):
            for path in folder.glob(".*.part"):
                path.unlink()

    def _clear(self) -> None:
        written = ("metrics.jsonl", "provenance.json", "cost.json", "strips.npz", "strips.json")
        for name in (*written, "report.html"):
            (self.path / name).unlink(missing_ok=True)
        for path in (*self.path.glob("evaluation-*"), *self.path.glob("pictures-*.npz")):
            path.unlink()
        shutil.rmtree(self.checkpoints, ignore_errors=True)
