"""An .npy file that is written a row at a time, and read by rows."""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class RowWriter:
    """An .npy file that is written row by row and hashed on the way.

    Written through a file, not a memory map: a full disk is then an error, not a crash. With
    no rows to come, no file is made.

    Attributes:
        path: the file.
        count: how many rows it will have.
        digest: of what was written so far.
    """

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.count = path, count
        self.digest = hashlib.blake2b()
        self._started = False

    def __enter__(self) -> RowWriter:
        if self.count:
            self._file = self.path.open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if not self.count:
            return
        with self._file:
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())

    def append(self, row: NDArray[Any]) -> None:
        """Write the next row; all have the first one's shape and type."""
        if not self._started:
            self._put(_header((self.count, *row.shape), row.dtype))
            self._started = True
        self._put(np.ascontiguousarray(row).tobytes())

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self.digest.update(data)


def taken(array: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """A copy of some rows of a memory-mapped array.

    Their pages are let go at once: an epoch would otherwise keep the whole file resident.
    """
    copied: NDArray[Any] = np.take(array, rows, axis=0)
    if sys.platform != "win32" and isinstance(array.base, mmap.mmap):
        array.base.madvise(mmap.MADV_DONTNEED)
    return copied


def _header(shape: tuple[int, ...], dtype: DTypeLike) -> bytes:
    buffer = io.BytesIO()
    described = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()
