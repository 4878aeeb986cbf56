"""Several runs side by side: each figure's mean over the runs of a method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pseudolabel_kit.audit.findings import Findings, Judged
from pseudolabel_kit.audit.sweep import method_of
from pseudolabel_kit.audit.tables import fits, marked
from pseudolabel_kit.audit.words import EVIDENCE, LABELS
from pseudolabel_kit.report.words import Word

GAIN = Word("Gain", "in Dice over the decoder")
MAPS = {name: EVIDENCE[name] for name in ("auroc", "average_precision", "best_dice", "lesion_free")}
FUSED = {"dice": LABELS["dice"], "gain": GAIN} | {
    name: LABELS[name] for name in ("brier", "ece", "lesion_free", "coverage")
}


def summary(audits: Mapping[Path, Findings]) -> RenderableType:
    """Two tables: every map, and every label, of each method; its runs differ by their seed.

    Args:
        audits: by the run's folder; cells of a comparison, METHOD/seedN, belong together.
    """
    folders: dict[Path, list[Findings]] = {}
    for run, found in audits.items():
        folders.setdefault(method_of(run), []).append(found)
    alike = Counter(folder.name for folder in folders)
    methods = {str(f) if alike[f.name] > 1 else f.name: runs for f, runs in folders.items()}
    tables = (
        _table("Evidence", methods, MAPS, ("decoder", "explainer")),
        _table("Label", methods, FUSED, ("decoder", "fuser")),
    )
    counts = sorted({len(runs) for runs in methods.values()})
    some = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    about = f"Mean over {some} runs of each method, with their standard deviation."
    stars = dict.fromkeys(note for found in audits.values() for note in fits(found))
    notes = (Text(note, style="dim") for note in (*stars, about))
    return Group(*(table for table in tables if table.row_count), *notes)


def _table(
    title: str,
    methods: Mapping[str, Sequence[Findings]],
    words: Mapping[str, Word],
    kinds: Sequence[str],
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("Method", overflow="fold", min_width=12)
    table.add_column(title, overflow="fold", min_width=12)
    for word in words.values():
        table.add_column(word.title, justify="right")
    for method, runs in methods.items():
        lines = list(_lines(runs, words, kinds))
        if len(lines) == 1:  # the decoder alone
            continue
        for number, (name, cells) in enumerate(lines):
            table.add_row("" if number else method, name, *cells)
        table.add_section()
    return table


def _lines(
    runs: Sequence[Findings], words: Mapping[str, Word], kinds: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    names = dict.fromkeys((e.kind, e.name) for found in runs for e in found.judged)
    for kind, name in names:
        if kind in kinds:
            alike = [(found, e) for found in runs for e in found.judged if e.name == name]
            values = [_values(*each) for each in alike]
            cells = [_mean([each.get(word) for each in values]) for word in words]
            yield max((marked(*each) for each in alike), key=len), cells


def _values(found: Findings, judged: Judged) -> dict[str, float | None]:
    gain = found.gains.get(judged.name)
    return found.figures(judged) | {"gain": gain.value if gain else None}


def _mean(values: Sequence[float | None]) -> str:
    """Three decimals, with the spread where there are several.

    >>> _mean([0.5, None]), _mean([0.5, 0.7]), _mean([None])
    ('0.500', '0.600 ± 0.141', '')
    """
    known = [value for value in values if value is not None]
    spread = f" ± {stdev(known):.3f}" if len(known) > 1 else ""
    return f"{fmean(known):.3f}{spread}" if known else ""
