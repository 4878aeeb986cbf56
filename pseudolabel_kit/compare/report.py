"""Everything that a comparison leaves in its folder: CSV, JSON, LaTeX, and one page."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pseudolabel_kit.compare import plots
from pseudolabel_kit.compare.export import to_csv, to_json
from pseudolabel_kit.compare.gallery import gallery
from pseudolabel_kit.compare.latex import to_latex
from pseudolabel_kit.compare.maps import FULL, maps
from pseudolabel_kit.compare.results import Comparison
from pseudolabel_kit.compare.statistics import Summary, summarise
from pseudolabel_kit.compare.words import (
    COSTS,
    MARKS,
    cost_text,
    interval_text,
    notes,
    short_of,
    signed,
    spread_text,
)
from pseudolabel_kit.files import write_text
from pseudolabel_kit.report.canvas import COLOURS
from pseudolabel_kit.report.page import environment, flattened
from pseudolabel_kit.report.words import EVERY, figure

PAGE = "report.html"


def write_all(comparison: Comparison, out: Path) -> Path:
    """Write comparison.csv, .json and .tex and report.html, and return the page's path.

    Raises:
        RunError: the folder cannot be written.
    """
    summary = summarise(comparison)
    write_text(out / "comparison.csv", to_csv(comparison))
    write_text(out / "comparison.json", to_json(comparison, summary))
    write_text(out / "comparison.tex", to_latex(comparison, summary))
    templates = environment("compare", "report")
    templates.globals |= {
        "figure": figure,
        "spread_text": spread_text,
        "signed": signed,
        "interval_text": interval_text,
        "breakable": breakable,
        "cost_text": cost_text,
        "short_of": short_of,
        "every": EVERY,
        "cost_words": COSTS,
        "mark_words": MARKS,
        "colours": COLOURS,
    }
    page = templates.get_template("compare.html.j2").render(context(comparison, summary))
    write_text(out / PAGE, page)
    return out / PAGE


def context(comparison: Comparison, summary: Summary) -> dict[str, Any]:
    """What the template is given."""
    timed = [row for row in comparison.rows if "seconds" in summary.costs[row.name]]
    shown = [m for m in comparison.measures if any(m in s for s in summary.spreads.values())]
    return {
        "comparison": comparison,
        "summary": summary,
        "facts": facts(comparison),
        "notes": list(notes(comparison, summary)),
        "failed": comparison.unfinished("failed"),
        "missing": comparison.unfinished("missing"),
        "forest": plots.forest(comparison, summary) if any(summary.differences.values()) else "",
        "scatters": [
            (measure, plots.against_time(comparison, summary, measure))
            for measure in (shown if timed else ())
        ],
        "curves": plots.curves(comparison),
        "sweeps": plots.sweeps(comparison, summary),
        "maps": maps(comparison, summary),
        "full": FULL,
        "gallery": gallery(comparison),
        "settings": settings(comparison),
        "hashes": hashes(comparison),
    }


def facts(comparison: Comparison) -> list[tuple[str, str]]:
    """The few things that one wants to know first."""
    finished = comparison.finished
    cells = len(comparison.rows) * len(comparison.seeds)
    found: list[tuple[str, Any]] = [
        ("data", _listed(m.config.get("data", {}).get("source") for m in finished)),
        ("measured on", f"{comparison.split}{_holdings(comparison)}"),
        ("runs finished", f"{len(finished)} of {cells}"),
        ("seeds", ", ".join(map(str, comparison.seeds))),
        ("differences from", comparison.against),
        ("device", _listed(m.cost.device for m in finished if m.cost)),
    ]
    return [(name, value) for name, value in found if value]


def settings(comparison: Comparison) -> list[tuple[str, list[tuple[str, bool]]]]:
    """The keys whose values differ between rows: each row's value, and whether most have another.

    Rows without a finished run have an empty value; the seed is no setting.
    """
    configs = [
        dict(flattened(next(iter(row.finished.values())).config)) if row.finished else None
        for row in comparison.rows
    ]
    keys = dict.fromkeys(key for config in configs if config for key in config)
    found = []
    for key in keys:
        values = [config.get(key, "") for config in configs if config is not None]
        if key == "train.seed" or len(set(values)) < 2:
            continue
        usual, times = Counter(values).most_common(1)[0]
        common = usual if 2 * times > len(values) else None
        row = ["" if config is None else config.get(key, "") for config in configs]
        found.append((key, [(v, common is not None and v not in ("", common)) for v in row]))
    return found


def breakable(value: str) -> Markup:
    """A setting's value, which a narrow column may break after its punctuation alone."""
    return Markup("<wbr>").join(re.split(r"(?<=[:,=/])", value))


def hashes(comparison: Comparison) -> list[tuple[str, str]]:
    """What the data and the splits hash to; several where rows were trained on other data."""
    provenance = [measured.provenance for measured in comparison.finished]
    named = (("data hash", "data_hash"), ("split hash", "split_hash"))
    found = [(title, _listed(p.get(key) for p in provenance)) for title, key in named]
    versions = _listed(p.get("versions", {}).get("pseudolabel-kit") for p in provenance)
    return [(title, text) for title, text in [*found, ("pseudolabel-kit", versions)] if text]


def _holdings(comparison: Comparison) -> str:
    for measured in comparison.finished:
        patients = int(measured.columns.is_patient.sum())
        return f": {len(measured.columns.group)} images" + (
            f", {patients} patients" if patients else ""
        )
    return ""


def _listed(values: Any) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values if value))
