"""The page of a check: one file that holds everything it shows."""

from __future__ import annotations

from pathlib import Path

from pseudolabel_kit.check.check import Checked
from pseudolabel_kit.check.finding import SEVERITIES
from pseudolabel_kit.check.pictures import shown
from pseudolabel_kit.check.words import patients_known, tally
from pseudolabel_kit.data.splits import SIDES
from pseudolabel_kit.report.page import environment


def page(checked: Checked, command: str) -> str:
    """Every finding with its first pictures; no file is named, rows are counted.

    Args:
        checked: what was found.
        command: what repeats it.
    """
    templates = environment("check", "report")
    rendered: str = templates.get_template("check.html.j2").render(
        name=Path(checked.source).name or checked.source,
        facts=facts(checked),
        patients=patients_known(checked),
        drawn=checked.drawn,
        tally=tally(checked),
        shown=shown(checked),
        severities=SEVERITIES,
        command=command,
    )
    return rendered


def facts(checked: Checked) -> list[tuple[str, str]]:
    """The few things that one wants to know first."""
    store = checked.store
    height, width = store.size
    found = [
        ("images", len(store.rows)),
        ("size", f"{width} × {height} px"),
        ("patients", len({row.patient for row in store.rows} - {None}) or None),
        ("masks", sum(row.has_mask for row in store.rows)),
        ("regions", sum(row.has_region for row in store.rows) or None),
        ("train, val, test", ", ".join(str(checked.sides.count(side)) for side in SIDES)),
    ]
    return [(name, str(value)) for name, value in found if value is not None]
