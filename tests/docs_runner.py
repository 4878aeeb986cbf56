"""Runs the blocks of a page, in order, in an empty folder, as a reader would."""

from __future__ import annotations

import csv
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import docs_setup
import pytest
from docs_page import Block
from docs_shell import Shell

from pseudolabel_kit.compare.spec import read_spec
from pseudolabel_kit.config import Config
from pseudolabel_kit.data.table import COLUMNS
from pseudolabel_kit.engine.run import configure

DRAWN = re.compile("[─│►▶→]")


class Reader:
    """Someone who does what a page says.

    Args:
        shell: what commands are typed into.
        shown: what has been printed since it was last asked.
    """

    def __init__(self, shell: Shell, shown: Callable[[], str]) -> None:
        self.shell = shell
        self.shown = shown
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.printed = ""
        self.known: Mapping[str, Callable[[Block], None]] = {
            "python": self.python,
            "toml": self.toml,
            "csv": self.csv,
            "sh": lambda block: self.shell.run(block.code),
        }

    def do(self, block: Block) -> None:
        """One block; a kind that is not known here fails."""
        if block.setup:
            getattr(docs_setup, block.setup)()
        if block.excuse or block.is_directive:
            return
        if block.language == "text":
            self.compare(block)
        elif not block.language:
            assert DRAWN.search(block.code), f"{block.where}: a block without a language"
        else:
            assert block.language in self.known, f"{block.where}: who runs {block.language}?"
            self.attempt(block)

    def attempt(self, block: Block) -> None:
        """Run a block and keep what it prints."""
        try:
            self.known[block.language](block)
        except (Exception, SystemExit) as error:
            pytest.fail(f"{block.where}: {error!r}\n{self.shown()}")
        self.printed = self.shown()

    def python(self, block: Block) -> None:
        """Written where it says which file it is, executed elsewhere."""
        if block.path:
            write(block.path, block.code)
            self.shell.forget()
        else:
            sys.stdout.flush()
            exec(compile(block.code, block.where, "exec"), self.names)

    def toml(self, block: Block) -> None:
        """Written or parsed; tables of a configuration must be known to it."""
        tables = tomllib.loads(block.code)
        if block.path:
            write(block.path, block.code)
            if "row" in tables:
                read_spec(block.path)
        elif tables.keys() <= Config.model_fields.keys():
            configure(tables)

    def csv(self, block: Block) -> None:
        """A manifest: its columns are known, its rows are whole."""
        head, *rows = csv.reader(block.code.splitlines())
        assert set(head) <= set(COLUMNS), head
        assert all(len(row) == len(head) for row in rows)

    def compare(self, block: Block) -> None:
        """Output: each of its lines was printed by the block before, in this order."""
        said = re.sub(r"\s+", " ", self.printed)
        for line in filter(None, map(str.strip, block.code.splitlines())):
            pattern = ".*?".join(re.escape(part) for part in re.sub(r"\s+", " ", line).split("…"))
            found = re.search(pattern, said)
            assert found, f"{block.where}: not printed: {line}\nbut: {self.printed}"
            said = said[found.end() :]


def write(path: Path, code: str) -> None:
    """A file as the page shows it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
