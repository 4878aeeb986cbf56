"""Every check of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from pseudolabel_kit.check.copies import copies, patients
from pseudolabel_kit.check.finding import SEVERITIES, Finding
from pseudolabel_kit.check.greys import greys
from pseudolabel_kit.check.masks import lesions, places
from pseudolabel_kit.check.measures import Told, measure
from pseudolabel_kit.config import DataConfig
from pseudolabel_kit.data.source import decoded, open_dataset
from pseudolabel_kit.data.splits import Side, sides
from pseudolabel_kit.data.store import Store


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was found in a dataset.

    Attributes:
        source: what was asked for.
        store: its images.
        sides: of every row; drawn as a run would draw them, where the dataset names none.
        drawn: whether they are drawn.
        findings: the worst first.
    """

    source: str
    store: Store
    sides: list[Side]
    drawn: bool
    findings: list[Finding]

    @property
    def sound(self) -> bool:
        """Whether nothing worse than a note was found."""
        return all(finding.severity == "note" for finding in self.findings)


def check(config: DataConfig, told: Told) -> Checked:
    """Read every row of a dataset, with all of its truth, and say what is wrong.

    Args:
        config: the source and how it is read.
        told: called with (what is done, rows done, rows in all).

    Raises:
        DataError: the dataset cannot be read.
    """
    dataset = open_dataset(config)
    store = decoded(dataset, config, partial(told, "decoding images"))
    rows = store.rows
    on = sides(rows, config, config.seed)
    measures = measure(store, told)
    findings = [
        *patients(rows, on),
        *copies(rows, on, measures, told),
        *lesions(rows, store.classes, dataset.lesion_classes, measures),
        *places(measures),
        *greys(measures),
    ]
    return Checked(
        source=config.source,
        store=store,
        sides=on,
        drawn=not any(row.split for row in rows),
        findings=sorted(findings, key=lambda each: SEVERITIES.index(each.severity)),
    )
