"""The files of a source folder, each of which lies in it."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pseudolabel_kit.errors import DataError, RunError
from pseudolabel_kit.files import written_aside
from pseudolabel_kit.scans.study import Skipped

SALT = ".salt"
SALT_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Source:
    """A folder to import from.

    Attributes:
        folder: the source.
        files: every regular file in it, in order; hidden ones are left out.
        skipped: links that were not followed.
        salt_file: keeps the salt of pseudonyms.
    """

    folder: Path
    files: tuple[Path, ...]
    skipped: tuple[Skipped, ...]
    salt_file: Path

    def said(self, path: Path) -> str:
        """A file's path below the source."""
        return path.relative_to(self.folder).as_posix()

    def top(self, path: Path) -> str:
        """The first folder below the source on the way to a file, or nothing."""
        parts = path.relative_to(self.folder).parts
        return parts[0] if len(parts) > 1 else ""

    @cached_property
    def salt(self) -> bytes:
        """Random bytes that pseudonyms of this dataset are made with, for its owner alone.

        Raises:
            RunError: they cannot be written or read, or are not whole.
        """
        try:
            if not self.salt_file.exists():
                _draw_salt(self.salt_file)
            salt = self.salt_file.read_bytes()
        except OSError as error:
            raise RunError(f"{self.salt_file}: {error.strerror}") from None
        if len(salt) != SALT_BYTES:
            raise RunError(
                f"{self.salt_file}: holds {len(salt)} bytes, expected {SALT_BYTES}; "
                "put back a copy of it, or import into a new folder"
            )
        return salt


def look_into(folder: Path, salt_file: Path) -> Source:
    """Every file below a folder; links to folders are not followed, nor is what leads outside.

    Raises:
        DataError: there is no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {found}; expected a folder of scans or pictures")
    files: list[Path] = []
    skipped: list[Skipped] = []
    root = folder.resolve()
    for place, folders, names in os.walk(folder, onerror=_refuse):
        here = Path(place)
        kept = sorted(name for name in folders if _wanted(name))
        folders[:] = [name for name in kept if not (here / name).is_symlink()]
        for path in [here / name for name in kept if name not in folders]:
            told = path.relative_to(folder).as_posix()
            skipped.append(Skipped(told, f"{told}: is a link to a folder; expected the folder"))
        for path in sorted(here / name for name in names if _wanted(name)):
            told = path.relative_to(folder).as_posix()
            if problem := _problem(path, root):
                skipped.append(Skipped(told, f"{told}: {problem}"))
            elif path.is_file():
                files.append(path)
    return Source(folder=folder, files=tuple(files), skipped=tuple(skipped), salt_file=salt_file)


def _draw_salt(file: Path) -> None:
    with written_aside(file) as aside:
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(handle, "wb") as opened:
            opened.write(secrets.token_bytes(SALT_BYTES))


def _wanted(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _problem(path: Path, root: Path) -> str | None:
    if not path.is_symlink():
        return None if os.access(path, os.R_OK) else "cannot be read; expected permission"
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):  # a loop is a RuntimeError before Python 3.13
        return "is a link that leads nowhere; expected a file"
    return None if real.is_relative_to(root) else "is a link out of the source; expected a file"


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: {error.strerror}")
