"""What was measured of explanations, as a table for the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pseudolabel_kit.report.explained import WORDS, Explanations, Figure, heading, reading
from pseudolabel_kit.report.words import figure

STYLES = {1: "bold green", 0: "", -1: "bold red"}


def explanations_table(found: Explanations) -> RenderableType:
    """One row a measure, one column an explainer, chance last, over all images."""
    everyone = found.groups[0]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("measure", overflow="fold", min_width=14)
    for name in found.explainers:
        table.add_column(Text(name), justify="right", overflow="fold")
    for measure in everyone.measures:
        word = WORDS[measure]
        table.add_row(
            Text(word.title + (" (less is better)" if word.less_is_better else "")).append(
                f"\n{told}" if (told := everyone.told(measure)) else "", style="dim"
            ),
            *(cell(everyone.figures[name].get(measure)) for name in found.explainers),
        )
    colours = "Green or red: better or worse than chance, by the interval of the difference."
    return Group(
        Text(heading(found), style="bold"), table, Text(f"{reading(found)} {colours}", style="dim")
    )


def cell(shown: Figure | None) -> Text:
    """A value, and its interval, dimmed, below."""
    if shown is None:
        return Text("–", style="dim")
    text = Text(figure(shown.value), style=STYLES[shown.sign])
    if shown.interval:
        text.append(f"\n{shown.interval[0]:.3f}–{shown.interval[1]:.3f}", style="not bold dim")
    return text
