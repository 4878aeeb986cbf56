"""The page of an audit: one file that holds everything it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pseudolabel_kit.audit import charts
from pseudolabel_kit.audit.findings import Figures, Findings, Gain, Judged
from pseudolabel_kit.audit.pictures import shown
from pseudolabel_kit.audit.sweep import Audited
from pseudolabel_kit.audit.tables import heading, reading, signed, span
from pseudolabel_kit.audit.words import EVIDENCE, LABELS
from pseudolabel_kit.report import panels
from pseudolabel_kit.report.page import environment
from pseudolabel_kit.report.preflight import meaning
from pseudolabel_kit.report.words import Word, figure

PATIENTS = 12  # those beyond are in the CSV file alone


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of a table.

    Attributes:
        note: what the AUROC of a map means.
    """

    name: str
    cells: list[str]
    note: str = ""
    gain: Gain | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """Figures with their words, one line a map or label."""

    columns: list[Word]
    told: list[str]
    lines: list[Line]


def page(audits: Sequence[Findings], audited: Audited, command: str) -> str:
    """One checkpoint in full, and how figures moved over all of them.

    Args:
        audits: of every checkpoint that was audited.
        audited: the last of them, with its model and maps.
        command: what repeats it.
    """
    last = audited.findings
    decoder = list(filter(None, [last.decoder]))
    templates = environment("audit", "report")
    rendered: str = templates.get_template("audit.html.j2").render(
        findings=last,
        heading=heading(last),
        reading=reading(last),
        command=command,
        evidence=table(last, [*decoder, *last.evidence], EVIDENCE) if last.evidence else None,
        labels=table(last, [*decoder, *last.labels], LABELS) if last.labels else None,
        groups=groups(last),
        evidence_charts=charts.evidence(last),
        label_charts=charts.labels(last),
        step_charts=charts.over_steps(audits),
        shown=shown(audited),
        scale=panels.scale(),
        figure=figure,
        signed=signed,
        span=span,
    )
    return rendered


def table(findings: Findings, rows: Sequence[Judged], words: Mapping[str, Word]) -> Table:
    """Every figure that any of the rows has."""
    figures = {each.name: findings.figures(each) for each in rows}
    names = [name for name in words if any(f.get(name) is not None for f in figures.values())]
    told = list(dict.fromkeys(name for each in rows for name in each.told))
    return Table(
        columns=[words[name] for name in names],
        told=[name.replace("_", " ") for name in told],
        lines=[_line(findings, each, figures[each.name], [*names, *told]) for each in rows],
    )


def _line(findings: Findings, judged: Judged, figures: Figures, names: Sequence[str]) -> Line:
    auroc = figures.get("auroc")
    return Line(
        name=judged.name,
        cells=[figure(figures.get(name)) for name in names],
        note=meaning(auroc) if judged.kind == "explainer" and auroc is not None else "",
        gain=findings.gains.get(judged.name),
    )


def groups(findings: Findings) -> dict[str, Any] | None:
    """Dice and Brier score of the decoder and of each label, by class and by patient.

    Of the patients those with a lesion, the decoder's worst first: what the rest shows is in
    their class.
    """
    rows = [*filter(None, [findings.decoder]), *findings.labels]
    if not rows:
        return None
    lines = [
        (name, int(chosen.sum()), [findings.figures(each, chosen) for each in rows])
        for name, chosen in findings.groups().items()
        if name != "all"
    ]
    classes = [line for line in lines if line[0].startswith("class")]
    patients = [
        line for line in lines if line not in classes and line[2][0].get("dice") is not None
    ]
    patients.sort(key=lambda line: line[2][0]["dice"] or 0.0)
    return {
        "names": [each.name for each in rows],
        "more": max(0, len(patients) - PATIENTS),
        "lines": [*classes, *patients[:PATIENTS]],
    }
