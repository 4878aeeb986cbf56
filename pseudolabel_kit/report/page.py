"""The report of a run: one page that holds everything it shows."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from pseudolabel_kit.files import write_text
from pseudolabel_kit.report import curves, explained, panels
from pseudolabel_kit.report.preflight import preflight
from pseudolabel_kit.report.records import Json, Records, read_records
from pseudolabel_kit.report.tables import holdings
from pseudolabel_kit.report.words import GROUPS, figure


def write_report(run: Path) -> Path:
    """Write `report.html` into a run folder from what lies there, and return its path.

    The page loads nothing from elsewhere. A piece that is missing is named, with the reason.

    Raises:
        RunError: `run` is no run folder, one of its files is damaged, or it cannot be written.
    """
    templates = environment("report")
    templates.globals |= {"figure": figure, "holdings": holdings, "groups": GROUPS}
    templates.globals |= {
        "explained_words": explained.WORDS,
        "explained_heading": explained.heading,
        "explained_reading": explained.reading,
        "explained_charts": explained.charts,
    }
    page = templates.get_template("report.html.j2").render(context(read_records(run)))
    path = run / "report.html"
    write_text(path, page)
    return path


def environment(*packages: str) -> Environment:
    """The templates of some of the kit's packages; they escape whatever they are given."""
    return Environment(
        loader=ChoiceLoader([PackageLoader("pseudolabel_kit", package) for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def context(records: Records) -> dict[str, Any]:
    """What the template is given."""
    return {
        "run": records,
        "facts": facts(records),
        "warnings": [e for e in records.events if e.get("level") == "warning"],
        "notes": [e for e in records.events if e.get("level") != "warning"],
        "measures": curves.measures(records),
        "losses": curves.losses(records),
        "schedule": curves.schedule(records),
        "preflight": preflight(records),
        "audit": curves.audit(records),
        "labels": records.config.get("method", {}).get("fuser", "").partition(":")[0] != "none",
        "strips": panels.strips(records.strips, records.captions),
        "scale": panels.scale(),
        "provenance": flattened(records.provenance),
    }


def facts(records: Records) -> list[tuple[str, str]]:
    """The few things that one wants to know first."""
    method = records.config.get("method", {})
    rows = records.provenance.get("rows", {})
    found = [
        *((kind, method.get(kind)) for kind in ("backbone", "explainer", "fuser")),
        ("data", records.config.get("data", {}).get("source")),
        ("labelled", rows.get("labelled")),
        ("unlabelled", rows.get("unlabelled")),
        ("steps", records.steps[-1]["step"] if records.steps else None),
        ("training time", duration(sum(s.get("seconds") or 0 for s in records.steps))),
        ("device", records.provenance.get("device")),
        ("seed", records.config.get("train", {}).get("seed")),
    ]
    return [(name, str(value)) for name, value in found if value not in (None, "")]


def duration(seconds: float) -> str | None:
    """Hours, minutes and seconds, or None for nothing.

    >>> duration(3725.4)
    '1:02:05'
    """
    return str(timedelta(seconds=round(seconds))) if seconds else None


def flattened(tree: Json, prefix: str = "") -> list[tuple[str, str]]:
    """A tree as dotted names and plain values.

    >>> flattened({"seed": 0, "versions": {"torch": "2.6"}, "size": [96, 96]})
    [('seed', '0'), ('versions.torch', '2.6'), ('size', '[96, 96]')]
    """
    rows: list[tuple[str, str]] = []
    for name, value in tree.items():
        if isinstance(value, dict):
            rows += flattened(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, value if isinstance(value, str) else json.dumps(value)))
    return rows
