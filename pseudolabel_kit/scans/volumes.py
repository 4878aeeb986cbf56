"""Reads a volume from NIfTI, NRRD or MHA, and refuses what is not one whole scan in 3-D.

`said` begins every error: it names the file as the user knows it.
"""

from __future__ import annotations

import contextlib
import gzip
import mmap
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from pseudolabel_kit.errors import DataError

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
MOST = 2**29  # voxels: 2 GiB of floats
CHUNK = 2**20
HEADER = 64 * 1024  # bytes that the header of a NRRD or MHA file may take
NIFTI = (348, 540)  # bytes of a header, which it tells first
FLOATS = {"16": 4, "64": 8}  # bytes of NIfTI's types of floats
HOLES = "holds NaN or infinite voxels"
LABELS = 256  # values of a mask, at most
TINY = 1e-12  # of a direction's cosine; with subnormal ones the library's resampling draws nothing
WHOLE = 1e-3  # how far a mask's values may be from whole numbers
_NRRD_END = re.compile(rb"\n\r?\n")
_NRRD_ELSEWHERE = re.compile(rb"(?:^|[\r\n])[ \t\v\f]*data\s*file\s*:", re.I)
_NRRD_AXES = re.compile(rb"^space ?directions:(?:\s*\([^()]*\)){3}", re.I | re.M)  # none is none
_MHA_LAST = b"ElementDataFile"  # voxels follow this line
_MHA_HERE = re.compile(rb"[ \t]*ElementDataFile[ \t]*=[ \t]*LOCAL[ \t]*\r?")
_MHA_AXES = re.compile(rb"^[ \t]*(?:TransformMatrix|Rotation|Orientation)[ \t]*[=:]", re.M)
_MHA_UNKNOWN = re.compile(rb"^[ \t]*AnatomicalOrientation.*\?", re.M)
SUPPOSED = "sides_supposed"  # the key of an image whose file does not tell the patient's sides


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
            _refuse_holes(path, reader, said)
        image: sitk.Image = reader.Execute()
        image.SetDirection([0 if abs(each) < TINY else each for each in image.GetDirection()])
        if not _tells_sides(path, image):
            image.SetMetaData(SUPPOSED, "yes")
    if not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        raise DataError(f"{said}: {HOLES}")
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


def oriented(image: sitk.Image) -> bool:
    """Whether the file of a volume said how the patient lies in it; else its reader supposed.

    DICOM series say so by their headers.
    """
    return not image.HasMetaDataKey(SUPPOSED)


def labels(mask: sitk.Image, said: str) -> NDArray[Any]:
    """A mask's values (D,H,W), rounded.

    Raises:
        DataError: some are no whole numbers, negative as HU are, or there are more than 256:
            nobody knows what they mean.
    """
    stored: NDArray[Any] = sitk.GetArrayFromImage(mask)
    values: NDArray[Any] = stored if stored.dtype.kind in "iu" else np.rint(stored)
    if (np.abs(stored - values) > WHOLE).any():
        raise DataError(f"{said}: mask holds values that are no whole numbers")
    if values.min() < 0:
        raise DataError(
            f"{said}: is no mask: it holds {values.min():g}; expected 0 and the numbers of labels"
        )
    if values.max() >= LABELS and (count := np.unique(values).size) > LABELS:
        raise DataError(f"{said}: is no mask: it holds {count} values; expected {LABELS} at most")
    return values


def _refuse_elsewhere(path: Path, said: str) -> None:
    """A header can send its reader to another file, anywhere on the disk."""
    keeps = {".nrrd": _nrrd_keeps, ".mha": _mha_keeps}.get(path.suffix.lower())
    if keeps is None:
        return
    with path.open("rb") as file:
        kept = keeps(file)
    if kept is None:
        raise DataError(
            f"{said}: cannot be read; it is truncated, damaged or empty, or its header does not "
            f"end within {HEADER // 1024} KiB"
        )
    if not kept:
        raise DataError(f"{said}: keeps its voxels in another file; expected a single file")


def _nrrd_keeps(file: BinaryIO) -> bool | None:
    """Whether a NRRD file holds its own voxels; None where its header does not end."""
    head = file.read(HEADER)
    return not _NRRD_ELSEWHERE.search(head) if _NRRD_END.search(head) else None


def _mha_keeps(file: BinaryIO) -> bool | None:
    """Whether an MHA file holds its own voxels; None where its header does not end.

    What precedes it can hide a line from the library, which then takes a later one.
    """
    head = file.read(HEADER)
    at = head.find(_MHA_LAST)
    start, end = head.rfind(b"\n", 0, max(at, 0)) + 1, head.find(b"\n", max(at, 0))
    if at < 0 or end < 0:
        return None
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return bool(_MHA_HERE.fullmatch(head, start, end)) and content.find(_MHA_LAST, end) < 0


def _tells_sides(path: Path, image: sitk.Image) -> bool:
    """Whether a file gives axes, and says that they are the patient's.

    Those of an MHA file are by convention, unless it calls their meaning unknown.
    """

    def told(key: str) -> str:
        return image.GetMetaData(key) if image.HasMetaDataKey(key) else ""

    with path.open("rb") as file:
        head = file.read(HEADER)
    match path.suffix.lower():
        case ".nrrd":
            fields = _NRRD_END.split(head, 1)[0]
            return "superior" in told("NRRD_space") and bool(_NRRD_AXES.search(fields))
        case ".mha":
            fields = head.split(_MHA_LAST, 1)[0]
            return bool(_MHA_AXES.search(fields)) and not _MHA_UNKNOWN.search(fields)
        case _:
            return any(told(code) not in ("", "0") for code in ("qform_code", "sform_code"))


def _refuse_holes(path: Path, reader: sitk.ImageFileReader, said: str) -> None:
    """The library fills with zeros what a NIfTI file lacks, or holds as NaN, and says nothing."""
    voxels = np.prod(reader.GetSize(), dtype=np.int64) * int(reader.GetMetaData("bitpix")) // 8
    start, kind = int(float(reader.GetMetaData("vox_offset"))), reader.GetMetaData("datatype")
    expected, finite = start + int(voxels), True
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        head = file.read(start)
        order = "<" if int.from_bytes(head[:4], "little") in NIFTI else ">"
        found = len(head)
        while found < expected and (chunk := file.read(min(CHUNK, expected - found))):
            found += len(chunk)
            if (bytes_each := FLOATS.get(kind)) and len(chunk) % bytes_each == 0:
                finite &= bool(np.isfinite(np.frombuffer(chunk, f"{order}f{bytes_each}")).all())
    if found < expected:
        raise DataError(f"{said}: is truncated; it holds {found} of {expected} bytes")
    if not finite:
        raise DataError(f"{said}: {HOLES}")


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
