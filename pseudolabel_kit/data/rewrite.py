"""Fills columns of a manifest; every other byte stays as it was."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pseudolabel_kit.files import written_aside

BOM = "\ufeff"  # what some spreadsheets put before the first column's name
_ODD = re.compile(r'[",\r\n]')  # what is put in quotes
_CELL = re.compile(r'("(?:[^"]|"")*"|[^,]*)(,|\Z)')


def write_columns(file: Path, columns: Mapping[str, Sequence[str | None]], out: Path) -> None:
    """A copy of a manifest, which may take its place, with columns filled in.

    Args:
        file: a sound manifest, as `read_table` reads it.
        columns: by name, a cell for each of its rows; None leaves a row's cell as it is.
        out: what is written, whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    text = _text(file)
    for name, cells in columns.items():
        text = "".join(_filled(text, name, cells))
    with written_aside(out) as aside:
        aside.write_bytes(text.encode())


def _filled(text: str, column: str, filling: Sequence[str | None]) -> Iterator[str]:
    records = _records(text)
    header, raw = next(records)
    names = [name.strip() for name in header]
    known = column in names
    at = names.index(column) if known else len(names)
    if text.startswith(BOM):
        yield BOM
    yield raw if known else _put(raw, at, column)
    remaining = iter(filling)
    for cells, raw in records:
        if not any(map(str.strip, cells)):
            yield raw  # a line between rows
            continue
        cell = next(remaining)
        yield raw if cell is None and known else _put(raw, at, cell or "")


def _put(raw: str, at: int, word: str) -> str:
    """A record with one cell exchanged or, where it is shorter, filled up to that cell."""
    body = raw.rstrip("\r\n")
    cells = [cell for cell, _ in _cells(body)]
    cells += [""] * (at + 1 - len(cells))
    doubled = word.replace('"', '""')
    cells[at] = f'"{doubled}"' if _ODD.search(word) else word
    return ",".join(cells) + raw[len(body) :]


def _cells(body: str) -> Iterator[tuple[str, str]]:
    """The cells of a record as they are written, with their quotes, and what ends them."""
    for found in _CELL.finditer(body):
        yield found[1], found[2]
        if not found[2]:
            return


def _records(text: str) -> Iterator[tuple[list[str], str]]:
    """Each record's cells, and the lines that it is written in."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text.removeprefix(BOM), newline=""):
            taken.append(line)
            yield line

    for cells in csv.reader(lines(), strict=True):
        yield cells, "".join(taken)
        taken.clear()


def _text(file: Path) -> str:
    return file.read_bytes().decode("utf-8")
