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
from pseudolabel_kit.audit.words import EVIDENCE, LABELS, OTHERS
from pseudolabel_kit.report.words import Word, figure

NAME = 10  # of a part; what is longer is folded


def terminal(findings: Findings) -> RenderableType:
    """What is told first: how many images; evidence; labels with their gain over the decoder."""
    tables: list[RenderableType] = [Text(heading(findings), style="bold")]
    decoder = list(filter(None, [findings.decoder]))
    if findings.evidence:
        tables.append(_table("Evidence", findings, [*decoder, *findings.evidence], EVIDENCE))
    if findings.labels:
        tables.append(_table("Label", findings, [*decoder, *findings.labels], LABELS))
    return Group(*tables, Text(reading(findings), style="dim"))


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


def reading(findings: Findings) -> str:
    """How to read the gain."""
    if not findings.labels:
        return "An AUROC under 0.5 points away from the lesion."
    drawn = "patients" if findings.rows.patients.any() else "images"
    return (
        "Where a fuser teaches nothing the decoder's own answer stands. "
        f"Gain: in Dice over the decoder, with its 95% interval over {drawn}. "
        "An AUROC under 0.5 points away from the lesion."
    )


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
        table.add_column(name.replace("_", " "), justify="right")
    for each in rows:
        cells = list(_cells(findings, each, figures[each.name], [*shown, *more]))
        table.add_row(Text(each.name, style="dim" if each.kind == "decoder" else ""), *cells)
    return table


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
    text = Text(signed(gain.value), style={1: "bold green", 0: "", -1: "bold red"}[gain.sign])
    if gain.interval:
        text.append(f"\n{span(gain)}", style="not bold dim")
    return text


def span(gain: Gain) -> str:
    """The interval of a gain, or nothing."""
    return "" if gain.interval is None else " to ".join(map(signed, gain.interval))


def signed(value: float) -> str:
    """Three decimals and a sign."""
    return f"{value:+.3f}"


def as_csv(audits: Sequence[Findings]) -> str:
    """One line for each checkpoint, map or label, and group of images; blank = not defined."""
    told = {name: None for found in audits for each in found.judged for name in each.told}
    names = [*dict.fromkeys([*EVIDENCE, *LABELS, *OTHERS]), *told]
    gain = ["gain", "gain_low", "gain_high"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["step", "split", "kind", "name", "group", "images", *names, *gain])
    for found in audits:
        for each in found.judged:
            for group, chosen in found.groups().items():
                figures = found.figures(each, None if group == "all" else chosen)
                start = [found.step, found.split, each.kind, each.name, group, int(chosen.sum())]
                values = [_plain(figures.get(name)) for name in names]
                writer.writerow(
                    [*start, *values, *(_gains(found, each) if group == "all" else ("", "", ""))]
                )
    return buffer.getvalue()


def _gains(findings: Findings, judged: Judged) -> list[str]:
    gain = findings.gains.get(judged.name)
    found = () if gain is None else (gain.value, *(gain.interval or ()))
    return [*map(_plain, found), "", "", ""][:3]


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
