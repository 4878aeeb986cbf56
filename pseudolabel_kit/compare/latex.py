r"""A comparison as LaTeX tables, to be \input where booktabs is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pseudolabel_kit.compare.results import Comparison, Row
from pseudolabel_kit.compare.statistics import Difference, Spread, Summary
from pseudolabel_kit.compare.words import (
    COSTS,
    MARKS,
    UNDEFINED,
    cost_text,
    difference_text,
    notes,
    spread_text,
)
from pseudolabel_kit.report.words import EVERY

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "★": r"$\star$",
    "☆": r"$\circ$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "†": r"\dag{}",
    "×": r"$\times$",
} | {character: rf"\{character}" for character in "&%$#_{}"}


def to_latex(comparison: Comparison, summary: Summary) -> str:
    """A table of measures and costs, and where there are any, one of differences."""
    parts = [_measures(comparison, summary)]
    if any(summary.differences.values()):
        parts.append(_differences(comparison, summary))
    return "% needs \\usepackage{booktabs}\n" + "\n".join(parts)


def escape(text: str) -> str:
    r"""Text that LaTeX prints as it is.

    >>> escape("R&D_1 at 5%")
    'R\\&D\\_1 at 5\\%'
    """
    return "".join(_SPECIAL.get(character, character) for character in text)


def label(title: str) -> str:
    """A label's name.

    >>> label("Table III: classes")
    'table-iii-classes'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _measures(comparison: Comparison, summary: Summary) -> str:
    heads = [escape(_head(m)) for m in comparison.measures]
    heads += [escape(word.title) for word in COSTS.values()]
    body = [
        [
            _name(row),
            *(_figure(comparison, summary, row.name, m) for m in comparison.measures),
            *(escape(cost_text(summary.costs[row.name], name)) for name in COSTS),
        ]
        for row in comparison.rows
    ]
    told = " ".join(notes(comparison, summary))
    title = f"{comparison.title} (on {comparison.split})"
    return _table(title, label(comparison.title), ["Method", *heads], body, told)


def _differences(comparison: Comparison, summary: Summary) -> str:
    body = [
        [_name(row), *(_difference(comparison, summary, row.name, m) for m in comparison.measures)]
        for row in comparison.rows
        if row.name != comparison.against
    ]
    title = f"{comparison.title}: differences from {comparison.against} (on {comparison.split})"
    heads = ["Method", *(escape(_head(m)) for m in comparison.measures)]
    return _table(title, f"{label(comparison.title)}-differences", heads, body, "")


def _head(measure: str) -> str:
    word = EVERY[measure]
    return word.title + (" (less is better)" if word.less_is_better else "")


def _name(row: Row) -> str:
    return escape(f"{row.name} ({row.note})" if row.note else row.name)


def _figure(comparison: Comparison, summary: Summary, row: str, measure: str) -> str:
    spread = summary.spreads[row].get(measure)
    text = escape(spread_text(spread)) + (_count(spread, comparison) if spread else "")
    mark = summary.marks[row].get(measure)
    if mark is None:
        return text
    figure = rf"\textbf{{{text}}}" if mark == "best" else text
    return f"{figure} {escape(MARKS[mark])}"


def _difference(comparison: Comparison, summary: Summary, row: str, measure: str) -> str:
    found = summary.differences[row].get(measure)
    if found is None:
        return escape(UNDEFINED)
    return escape(difference_text(found)) + _count(found, comparison)


def _count(found: Spread | Difference, comparison: Comparison) -> str:
    return "" if found.n == len(comparison.seeds) else f" ($n={found.n}$)"


def _table(
    title: str, name: str, heads: list[str], body: Iterable[Iterable[str]], told: str
) -> str:
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(title)}}}",
        rf"\label{{tab:{name}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
        *(" & ".join(cells) + r" \\" for cells in body),
        r"\bottomrule",
        r"\end{tabular}",
        *([r"\par\medskip", rf"\footnotesize {escape(told)}"] if told else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"
