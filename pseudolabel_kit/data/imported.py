"""How a dataset was made of scans: what `plk data import` notes beside the manifest."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FILE = "import.json"


def import_settings(source: str) -> dict[str, Any] | None:
    """The settings noted beside a manifest, or in a dataset's folder; None where none are."""
    path = Path(os.path.expanduser(source))
    folder = path if path.is_dir() else path.parent
    try:
        noted = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return noted if isinstance(noted, dict) else None
