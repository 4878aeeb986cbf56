"""The pre-flight audit in plain words."""

from __future__ import annotations

from dataclasses import dataclass

from pseudolabel_kit.report.charts import short
from pseudolabel_kit.report.records import Records

VERDICTS = {
    "better": "Fusing helps: its labels are better than the decoder's own.",
    "equal": "Fusing does no harm: its labels are as good as the decoder's own.",
    "worse": "Fusing harms: its labels are worse than the decoder's own.",
    "unknown": "Not judged: no lesion was known, or the decoder found none yet.",
}
FIGURES = {
    "dice": ("Dice", "more is better"),
    "brier": ("Brier score", "less is better"),
    "ece": ("Calibration error", "less is better"),
}


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What was found just before pseudo labels joined.

    Attributes:
        word: the verdict.
        sentence: the verdict in words.
        rows: how many labelled images it was found on.
        figures: (title, which way is better, label's, decoder's).
        evidence: (reference, AUROC, what that means).
    """

    word: str
    sentence: str
    step: int
    rows: int
    figures: list[tuple[str, str, str, str]]
    evidence: list[tuple[str, str, str]]


def preflight(records: Records) -> Preflight | None:
    """The last pre-flight audit of a run, or None."""
    found = [a for a in records.audits if a.get("when") == "preflight"]
    if not found:
        return None
    record, word = found[-1]["record"], found[-1].get("verdict") or "unknown"
    pairs = [(name, record.get(f"label_{name}"), record.get(f"decoder_{name}")) for name in FIGURES]
    return Preflight(
        word=word,
        sentence=VERDICTS.get(word, word),
        step=found[-1]["step"],
        rows=found[-1]["rows"],
        figures=[
            (*FIGURES[name], short(label), short(decoder))
            for name, label, decoder in pairs
            if label is not None and decoder is not None
        ],
        evidence=[
            (key.removeprefix("auroc/"), short(value), meaning(value))
            for key, value in record.items()
            if key.startswith("auroc/") and value is not None
        ],
    )


def meaning(auroc: float) -> str:
    """What an AUROC against the lesion says.

    >>> meaning(0.3), meaning(0.52), meaning(0.9)
    ('points away from the lesion', 'says nothing of the lesion', 'points at the lesion')
    """
    if auroc < 0.45:
        return "points away from the lesion"
    if auroc < 0.55:
        return "says nothing of the lesion"
    return "points weakly at the lesion" if auroc < 0.7 else "points at the lesion"
