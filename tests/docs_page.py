"""A page of the docs as a reader's fingers meet it: its code blocks, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))

_PIECE = re.compile(
    r"^```(?P<language>[^\n`]*)\n(?P<code>.*?)^```$|^<!-- (?P<mark>.*?) -->$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: what stands behind the fence; "" for a drawing.
        code: what stands between the fences.
        where: page and line, for messages.
        setup: the name of what must be there first (`<!-- setup: NAME -->`), or "".
        excuse: why nobody runs it (`<!-- not run: WHY -->`), or "".
    """

    language: str
    code: str
    where: str
    setup: str = ""
    excuse: str = ""

    @property
    def path(self) -> Path | None:
        """The file that the block is, where its first line is a comment with nothing but a path."""
        found = re.match(r"# ([\w./-]+\.(?:py|toml))\n", self.code)
        return Path(found[1]) if found else None

    @property
    def is_directive(self) -> bool:
        """Whether it is a word to the site's builder."""
        return self.language.startswith("{")


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page; a mark belongs to the block that follows it."""
    text = page.read_text(encoding="utf-8")
    marks: dict[str, str] = {}
    for piece in _PIECE.finditer(text):
        if piece["mark"] is not None:
            kind, _, told = piece["mark"].partition(":")
            marks[kind.strip()] = " ".join(told.split())
            continue
        yield Block(
            language=piece["language"],
            code=piece["code"],
            where=f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, piece.start()) + 1}",
            setup=marks.get("setup", ""),
            excuse=marks.get("not run", ""),
        )
        marks = {}
