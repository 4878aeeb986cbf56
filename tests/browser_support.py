"""A Chromium that clicks through pages, for tests that are skipped where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("PLK_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def browser() -> Iterator[Any]:
    """A browser of its own, closed at the end."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (browser)")
    if CHROMIUM is None:
        pytest.skip("needs Chromium on the path, or at PLK_CHROMIUM")
    with playwright.sync_playwright() as driver:
        sandbox = os.geteuid() != 0 if hasattr(os, "geteuid") else True
        chromium = driver.chromium.launch(
            executable_path=CHROMIUM, args=list(QUIET), chromium_sandbox=sandbox
        )
        yield chromium
        chromium.close()


class Tab:
    """A page from disk, and all that went wrong or out while it was open."""

    def __init__(self, chromium: Any, path: Path, width: int = 1200) -> None:
        self.page = chromium.new_page(viewport={"width": width, "height": 900})
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda said: self.errors.append(said.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda asked: self.requests.append(asked.url))
        self.page.goto(path.as_uri())

    def pixels(self) -> bytes:
        """What the canvas shows, once nothing is being drawn."""
        drawn = "() => document.getElementById('picture').dataset.settled === 'true'"
        self.page.wait_for_function(drawn)
        canvas: str = self.page.evaluate("document.getElementById('picture').toDataURL()")
        return canvas.encode()

    def slice(self) -> int:
        """The slice that the page says it shows, once it is drawn."""
        self.pixels()
        number: str = self.page.inner_text("#number")
        return int(number.partition("/")[0])
