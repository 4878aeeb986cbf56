"""Reads a volume from NIfTI, NRRD or MHA, and refuses what is not one whole scan in 3-D.

`said` begins every error: it names the file as the user knows it.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from pseudolabel_kit.errors import DataError

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
MOST = 2**29  # voxels: 2 GiB of floats
CHUNK = 2**20
# A header that sends its reader to another file, anywhere on the disk.
_ELSEWHERE = re.compile(rb"^(?:data ?file *:|ElementDataFile *=(?! *LOCAL))", re.M | re.I)


def stem(path: Path) -> str:
    """A file's name without what says its format."""
    name = path.name
    return next((name[: -len(s)] for s in SUFFIXES if name.lower().endswith(s)), path.stem)


def read_volume(path: Path, said: str) -> sitk.Image:
    """A volume of one number a voxel.

    Raises:
        DataError: it is truncated, has not three dimensions, is empty or too large, holds
            several numbers a voxel, NaN, or pixels that another file keeps.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with readable(said):
        _refuse_elsewhere(path, said)
        reader.ReadImageInformation()
        refuse_odd(reader.GetSize(), reader.GetNumberOfComponents(), said)
        if path.name.lower().endswith((".nii", ".nii.gz")):
            _refuse_truncated(path, reader, said)
        image: sitk.Image = reader.Execute()
    if not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        raise DataError(f"{said}: holds NaN or infinite voxels")
    return image


@contextlib.contextmanager
def readable(said: str) -> Iterator[None]:
    """Turn what readers raise into one line, and keep what their C code prints from the screen.

    Raises:
        DataError: in place of what was raised.
    """
    with _silence():
        try:
            yield
        except (RuntimeError, OSError, EOFError, zlib.error):
            raise DataError(f"{said}: cannot be read; it is truncated, damaged or empty") from None


def refuse_odd(size: tuple[int, ...], components: int, said: str) -> None:
    """Refuse what is no volume.

    Raises:
        DataError: by its size, or by the numbers that it holds a voxel.
    """
    told = "x".join(map(str, size))
    if len(size) != 3:
        raise DataError(f"{said}: is {len(size)}-D ({told}); expected a 3-D volume")
    if 0 in size or np.prod(size, dtype=float) > MOST:
        raise DataError(f"{said}: {told} voxels; expected from 1 to {MOST}")
    if components != 1:
        raise DataError(f"{said}: holds {components} numbers a voxel; expected one")


def _refuse_elsewhere(path: Path, said: str) -> None:
    if path.suffix.lower() in (".nrrd", ".mha"):
        with path.open("rb") as file:
            head = file.read(64 * 1024).partition(b"\n\n")[0]
        if _ELSEWHERE.search(head):
            raise DataError(f"{said}: keeps its voxels in another file; expected a single file")


def _refuse_truncated(path: Path, reader: sitk.ImageFileReader, said: str) -> None:
    """The library fills what a NIfTI file lacks with zeros, and says nothing."""
    voxels = np.prod(reader.GetSize(), dtype=np.int64) * int(reader.GetMetaData("bitpix")) // 8
    expected = int(float(reader.GetMetaData("vox_offset"))) + int(voxels)
    found = 0
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        while found < expected and (chunk := file.read(CHUNK)):
            found += len(chunk)
    if found < expected:
        raise DataError(f"{said}: is truncated; it holds {found} of {expected} bytes")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The process's standard error, which C code writes to, leads nowhere for a while."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
