"""An audit as tables for the terminal, and as one table for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pseudolabel_kit.audit.findings import Figures, Findings, Gain, Judged
from pseudolabel_kit.audit.words import EVIDENCE, FITTED, LABELS, OTHERS, TOLD, told
from pseudolabel_kit.engine.bootstrap import CAUTION
from pseudolabel_kit.report.words import Word, figure

NAME = 10  # of a part; what is longer is folded


def terminal(findings: Findings) -> RenderableType:
    """What is told first: how many images; evidence; labels with their gain over the decoder."""
    above = [Text(heading(findings), style="bold")]
    if missing := unknown(findings):
        above.append(Text(missing, style="yellow"))
    decoder = list(filter(None, [findings.decoder]))
    asked = (("Evidence", findings.evidence, EVIDENCE), ("Label", findings.labels, LABELS))
    tables = [_table(title, findings, [*decoder, *each], w) for title, each, w in asked if each]
    shown = (table for table in tables if len(table.columns) > 1)
    notes = [*fits(findings), " ".join([reading(findings), *_said(findings)])]
    return Group(*above, *shown, *(Text(note, style="dim") for note in notes))


def heading(findings: Findings) -> str:
    """Which model, on what."""
    rows = findings.rows
    some = "" if len(rows) == findings.available else f" of {findings.available}"
    patients = int(rows.patients.max(initial=0))
    of_whom = f", {patients} patients" if patients else ""
    return (
        f"{findings.run}, step {findings.step}, on {len(rows)}{some} {findings.split} images"
        f"{of_whom}; {int(rows.masked.sum())} masks known, {int(rows.free.sum())} lesion-free"
    )


def unknown(findings: Findings) -> str:
    """What is missing where no mask is known, and where one may be; else nothing."""
    if findings.rows.masked.any():
        return ""
    other = "another split" if findings.split == "val" else "--split val"
    return f"No mask of these images is known: to judge maps and labels try {other}."


def reading(findings: Findings) -> str:
    """How to read the gain."""
    if not findings.labels:
        return "An AUROC under 0.5 points away from the lesion."
    drawn = "patients" if findings.rows.patients.any() else "images"
    return (
        "Where a fuser teaches nothing the decoder's own answer stands. "
        f"Gain: in Dice over the decoder, with its 95% interval over {drawn}. "
        f"{CAUTION} "
        "An AUROC under 0.5 points away from the lesion."
    )


def _said(findings: Findings) -> list[str]:
    """The words for what explainers say of their own maps."""
    names = {name for each in findings.evidence for name in each.told}
    return [f"{word.title}: {word.plain}." for n, word in TOLD.items() if n in names]


def fit(findings: Findings, judged: Judged) -> str:
    """To what a fuser was fitted, and what follows where it is judged on that; or nothing."""
    if judged.fitted is None:
        return ""
    kindly = ", so judged too kindly here" if findings.flattered(judged) else ""
    return FITTED[judged.fitted] + kindly


def fits(findings: Findings) -> list[str]:
    """The notes to the stars, a line each."""
    noted = ((each, fit(findings, each)) for each in findings.labels)
    return [f"* {each.name}: {note}" for each, note in noted if note]


def _table(
    title: str, findings: Findings, rows: Sequence[Judged], words: Mapping[str, Word]
) -> Table:
    figures = {each.name: findings.figures(each) for each in rows}
    shown = [
        name
        for name in words
        if name != "foreground" and any(f.get(name) is not None for f in figures.values())
    ]
    more = {name: None for each in rows for name in each.told}
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    table.add_column(title, overflow="fold", min_width=NAME)
    for name in shown:
        table.add_column(words[name].title, justify="right")
        if name == "dice":
            table.add_column("Gain", justify="right", no_wrap=True)
    for name in more:
        table.add_column(told(name).title, justify="right")
    for each in rows:
        cells = list(_cells(findings, each, figures[each.name], [*shown, *more]))
        called = Text(marked(findings, each), style="dim" if each.kind == "decoder" else "")
        table.add_row(called, *cells)
    return table


def marked(findings: Findings, judged: Judged) -> str:
    """Its name, with a star where `fits` says more."""
    return f"{judged.name}*" if fit(findings, judged) else judged.name


def _cells(
    findings: Findings, judged: Judged, figures: Figures, shown: Sequence[str]
) -> Iterator[Text]:
    for name in shown:
        yield Text(figure(figures.get(name)))
        if name == "dice":
            yield _gain(findings, judged)


def _gain(findings: Findings, judged: Judged) -> Text:
    if (gain := findings.gains.get(judged.name)) is None:
        return Text()
    style = {1: "bold green", 0: "", -1: "bold red"}[sign(findings, judged)]
    text = Text(signed(gain.value), style=style)
    if gain.interval:
        text.append(f"\n{span(gain)}", style="not bold dim")
    return text


def sign(findings: Findings, judged: Judged) -> int:
    """That of the gain; 0 where it proves nothing, since the fuser was fitted to these images."""
    gain = findings.gains.get(judged.name)
    return 0 if gain is None or findings.flattered(judged) else gain.sign


def span(gain: Gain) -> str:
    """The interval of a gain, or nothing."""
    return "" if gain.interval is None else " to ".join(map(signed, gain.interval))


def signed(value: float) -> str:
    """Three decimals and a sign."""
    return f"{value:+.3f}"


def as_csv(audits: Sequence[Findings]) -> str:
    """One line for each checkpoint, map or label, and group of images; blank = not defined."""
    more = {name: None for found in audits for each in found.judged for name in each.told}
    names = [*dict.fromkeys([*EVIDENCE, *LABELS, *OTHERS]), *more]
    gain = ["gain", "gain_low", "gain_high"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["step", "split", "kind", "name", "group", "images", *names, *gain, "fitted"])
    for found in audits:
        for each in found.judged:
            for group, chosen in found.groups().items():
                figures = found.figures(each, None if group == "all" else chosen)
                start = [found.step, found.split, each.kind, each.name, group, int(chosen.sum())]
                values = [_plain(figures.get(name)) for name in names]
                gains = _gains(found, each) if group == "all" else ("", "", "")
                writer.writerow([*start, *values, *gains, each.fitted or ""])
    return buffer.getvalue()


def _gains(findings: Findings, judged: Judged) -> list[str]:
    gain = findings.gains.get(judged.name)
    found = () if gain is None else (gain.value, *(gain.interval or ()))
    return [*map(_plain, found), "", "", ""][:3]


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
