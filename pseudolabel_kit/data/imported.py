"""How a dataset was made of scans: what `plk data import` notes beside the manifest."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pseudolabel_kit.errors import DataError

FILE = "import.json"


def import_settings(source: str) -> dict[str, Any] | None:
    """The settings noted beside a manifest, or in a dataset's folder; None where none are.

    Raises:
        DataError: the file is damaged, or cannot be read.
    """
    path = Path(os.path.expanduser(source))
    file = (path if path.is_dir() else path.parent) / FILE
    if not path.exists() or not file.exists():  # a source may be a plugin's name
        return None
    try:
        noted: Any = json.loads(file.read_bytes())
    except (OSError, ValueError):
        noted = None
    if not isinstance(noted, dict):
        raise DataError(
            f"{file}: is damaged; expected what plk data import notes (the same import line "
            "writes it anew)"
        )
    return noted
