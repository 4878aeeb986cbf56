"""What was found in words, shared by the terminal, the page and programs."""

from __future__ import annotations

from typing import Any

from pseudolabel_kit.check.check import Checked
from pseudolabel_kit.check.finding import SEVERITIES


def tally(checked: Checked) -> str:
    """How many findings there are of each severity: "1 error, 2 warnings"."""
    found = [each.severity for each in checked.findings]
    told = [
        f"{found.count(severity)} {severity}{'s' if found.count(severity) > 1 else ''}"
        for severity in SEVERITIES
        if severity in found
    ]
    return ", ".join(told) or "nothing found"


def patients_known(checked: Checked) -> str:
    """Whether leaks by patient can be found at all."""
    rows = checked.store.rows
    unknown = sum(row.patient is None for row in rows)
    if not unknown:
        return "patients are known of every image"
    return f"patients are unknown for {unknown} of {len(rows)} images: one may be on two sides"


def as_table(checked: Checked) -> dict[str, Any]:
    """Everything for programs; rows are counted from 1, in the order of the dataset."""
    rows = checked.store.rows

    def row(i: int) -> dict[str, Any]:
        label = rows[i].label
        known = None if label is None else checked.store.classes[label]
        return {"row": i + 1, "name": rows[i].name, "side": checked.sides[i], "label": known}

    return {
        "source": checked.source,
        "images": len(rows),
        "sides_drawn": checked.drawn,
        "sound": checked.sound,
        "findings": [
            {
                "kind": each.kind,
                "severity": each.severity,
                "said": each.said,
                "fix": each.fix,
                "rows": each.rows,
                "cases": [
                    {"rows": [row(i) for i in case], "told": told}
                    for case, told in zip(each.cases, each.told, strict=True)
                ],
            }
            for each in checked.findings
        ],
    }
