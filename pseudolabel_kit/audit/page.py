"""The page of an audit: one file that holds everything it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pseudolabel_kit.audit import charts
from pseudolabel_kit.audit.findings import Figures, Findings, Gain, Judged, Kind
from pseudolabel_kit.audit.pictures import shown
from pseudolabel_kit.audit.sweep import Audited
from pseudolabel_kit.audit.tables import fit, heading, reading, sign, signed, span, unknown
from pseudolabel_kit.audit.words import EVIDENCE, LABELS, told
from pseudolabel_kit.report import panels
from pseudolabel_kit.report.page import environment
from pseudolabel_kit.report.preflight import meaning
from pseudolabel_kit.report.words import Word, figure

PATIENTS = 12  # those beyond are in the CSV file alone


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of a table.

    Attributes:
        note: what the AUROC of a map means, or to what a fuser was fitted.
        sign: 1 or -1 where the gain proves something.
    """

    name: str
    cells: list[str]
    note: str = ""
    gain: Gain | None = None
    sign: int = 0


@dataclass(frozen=True, kw_only=True)
class Table:
    """Figures with their words, one line a map or label.

    Attributes:
        told: the last columns, of what explainers say of their own maps.
    """

    columns: list[Word]
    told: list[Word]
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
        unknown=unknown(last),
        command=command,
        evidence=table(last, [*decoder, *last.evidence], EVIDENCE) if last.evidence else None,
        labels=table(last, [*decoder, *last.labels], LABELS) if last.labels else None,
        groups=[
            each
            for each in (
                groups(last, "Evidence", "explainer", ("auroc", "lesion_free")),
                groups(last, "Pseudo labels", "fuser", ("dice", "brier")),
            )
            if each
        ],
        evidence_charts=charts.evidence(last),
        label_charts=charts.labels(last),
        step_charts=charts.over_steps(audits),
        shown=shown(audited),
        scale=panels.scale(),
        signed=signed,
        span=span,
    )
    return rendered


def table(findings: Findings, rows: Sequence[Judged], words: Mapping[str, Word]) -> Table:
    """Every figure that any of the rows has."""
    figures = {each.name: findings.figures(each) for each in rows}
    names = [name for name in words if any(f.get(name) is not None for f in figures.values())]
    more = list(dict.fromkeys(name for each in rows for name in each.told))
    lines = [_line(findings, each, figures[each.name], [*names, *more]) for each in rows]
    truth = figures[rows[0].name].get("truth")
    if "foreground" in names and truth is not None:
        cells = [figure(truth if name == "foreground" else None) for name in names]
        lines.append(Line(name="truth", cells=cells, note="where masks are known"))
    return Table(
        columns=[words[name] for name in names],
        told=[told(name) for name in more],
        lines=lines,
    )


def _line(findings: Findings, judged: Judged, figures: Figures, names: Sequence[str]) -> Line:
    auroc = figures.get("auroc") if judged.kind == "explainer" else None
    return Line(
        name=judged.name,
        cells=[figure(figures.get(name)) for name in names],
        note=fit(findings, judged) if auroc is None else meaning(auroc),
        gain=findings.gains.get(judged.name),
        sign=sign(findings, judged),
    )


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Two figures of the decoder and of each map or label, by class and by patient.

    Attributes:
        figures: the two, the second shown smaller.
        more: patients that are in the CSV file alone.
    """

    title: str
    figures: tuple[Word, Word]
    names: list[str]
    lines: list[tuple[str, int, list[tuple[str, str]]]]
    more: int


def groups(findings: Findings, title: str, kind: Kind, names: tuple[str, str]) -> Groups | None:
    """The named figures of the decoder and of all of one kind, or None where there are none.

    Of the patients those with a lesion, the decoder's worst first: what the rest shows is in
    their class.
    """
    judged = [each for each in findings.judged if each.kind in ("decoder", kind)]
    if not any(each.kind == kind for each in judged):
        return None
    lines = {
        group: (int(chosen.sum()), [findings.figures(each, chosen) for each in judged])
        for group, chosen in findings.groups().items()
        if group != "all"
    }
    classes = [group for group in lines if group.startswith("class")]
    firsts = {group: figures[0].get(names[0]) for group, (_, figures) in lines.items()}
    known = {g: value for g, value in firsts.items() if value is not None and g not in classes}
    patients = sorted(known, key=known.__getitem__)
    words = {**EVIDENCE, **LABELS}
    return Groups(
        title=title,
        figures=(words[names[0]], words[names[1]]),
        names=[each.name for each in judged],
        lines=[
            (group, count, [(figure(f.get(names[0])), figure(f.get(names[1]))) for f in figures])
            for group in [*classes, *patients[:PATIENTS]]
            for count, figures in [lines[group]]
        ],
        more=max(0, len(patients) - PATIENTS),
    )
